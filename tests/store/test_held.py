"""What a process has in work: renewed while it runs, given back when it stops."""

from __future__ import annotations

import asyncio

from skills_host.store.leases import Leases
from skills_host.store.records import Put, Record, Store
from tests.store.conftest import Clock


async def claimed(store: Store, leases: Leases) -> list[Record]:
    return await store.claim("work", until=leases.until(), limit=10)


async def held(store: Store, clock: Clock) -> tuple[Leases, Record, asyncio.Event]:
    await store.write([Put("work", "a", b"", due=1000.0)])
    leases, lost = Leases(store, now=clock, seconds=0.03), asyncio.Event()
    (record,) = await claimed(store, leases)
    leases.hold(record, lost=lost.set)
    leases.open()
    return leases, record, lost


async def due(store: Store) -> float | None:
    (record,) = (await store.read([("work", "a")])).values()
    return record.due


async def test_what_is_held_is_renewed(store: Store, clock: Clock) -> None:
    leases, _, lost = await held(store, clock)
    clock.at = 1000.02
    await asyncio.sleep(0.1)

    assert (await due(store), lost.is_set()) == (1000.05, False)
    await leases.close()


async def test_what_was_just_taken_is_not_renewed(store: Store, clock: Clock) -> None:
    leases, record, _ = await held(store, clock)
    clock.at = 1000.009
    await asyncio.sleep(0.05)

    assert await due(store) == record.due
    await leases.close()


async def test_whoever_lost_a_lease_is_told(store: Store, clock: Clock) -> None:
    leases, _, lost = await held(store, clock)
    clock.at = 1000.5
    (other,) = await store.claim("work", until=2000.0, limit=1)

    async with asyncio.timeout(5):
        await lost.wait()
    await leases.close()
    assert await due(store) == other.due == 2000.0


async def test_what_is_done_is_neither_renewed_nor_lost(store: Store, clock: Clock) -> None:
    leases, record, lost = await held(store, clock)
    leases.drop(record)
    await store.write([Put("work", "a", b"done")])
    clock.at = 1000.02
    await asyncio.sleep(0.05)

    assert not lost.is_set()
    await leases.close()
    assert await due(store) is None


async def test_what_is_held_is_given_back_when_the_process_stops(
    store: Store, clock: Clock
) -> None:
    leases, record, _ = await held(store, clock)
    leases.leave(record)
    await leases.close()

    assert [found.version for found in await claimed(store, leases)] == [3]


async def test_a_lost_store_stops_nobody(store: Store, clock: Clock) -> None:
    leases, _, lost = await held(store, clock)
    clock.at = 1000.02
    await store.close()
    await asyncio.sleep(0.05)
    await leases.close()

    assert not lost.is_set()
