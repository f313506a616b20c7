"""Work that is claimed: by one at a time, for a while, and fenced by the version."""

from __future__ import annotations

import asyncio

import pytest

from skills_host.errors import StoreFailed, VersionConflict
from skills_host.store.records import NEW, Append, Check, Delete, Put, Record, Store
from tests.store.conftest import Clock


async def claimed(store: Store, *, until: float = 1030.0, limit: int = 10) -> list[Record]:
    return await store.claim("work", until=until, limit=limit)


async def test_what_is_due_is_claimed_whole(store: Store) -> None:
    await store.write([Put("work", "a", b"one", owner="root", expires=2000.0, due=1000.0)])

    assert await claimed(store) == [Record("work", "a", 2, b"one", "root", 2000.0, 1030.0)]


async def test_what_is_read_tells_when_it_is_due(store: Store) -> None:
    await store.write([Put("work", "a", b"", due=1005.0)])

    (read,) = (await store.read([("work", "a")])).values()
    (scanned,) = await store.scan("work", limit=1)

    assert read.due == scanned.due == 1005.0


@pytest.mark.parametrize("due", [None, 1000.5])
async def test_what_is_not_due_is_not_claimed(store: Store, due: float | None) -> None:
    await store.write([Put("work", "a", b"", due=due)])

    assert await claimed(store) == []


async def test_other_kinds_elements_and_what_has_expired_are_not_claimed(store: Store) -> None:
    await store.write([Put("other", "a", b"", due=900.0), Append("work", "s", b"")])
    await store.write([Put("work", "b", b"", due=900.0, expires=1000.0)])

    assert await claimed(store) == []


async def test_only_what_begins_with_the_prefix_is_claimed(store: Store) -> None:
    await store.write([Put("work", key, b"", due=900.0) for key in ("a/1", "a/", "a", "a0", "b/1")])

    found = await store.claim("work", "a/", until=1030.0, limit=10)

    assert {record.key for record in found} == {"a/", "a/1"}
    assert await store.claim("work", "c", until=1030.0, limit=10) == []


async def test_a_claimed_record_is_nobody_elses_until_its_time(store: Store, clock: Clock) -> None:
    await store.write([Put("work", "a", b"", due=1000.0)])
    await claimed(store)

    assert await claimed(store) == []
    clock.at = 1030.0
    assert [record.version for record in await claimed(store, until=1060.0)] == [3]


async def test_the_longest_due_are_claimed_first(store: Store) -> None:
    await store.write([Put("work", f"{n}", b"", due=1000.0 - n) for n in range(4)])

    assert {record.key for record in await claimed(store, limit=2)} == {"2", "3"}
    assert {record.key for record in await claimed(store, limit=2)} == {"0", "1"}


async def test_two_who_claim_at_once_get_different_records(store: Store) -> None:
    await store.write([Put("work", f"{n:02d}", b"", due=1000.0) for n in range(40)])

    found = await asyncio.gather(*(claimed(store, limit=10) for _ in range(8)))
    # Who came upon another's lock leaves the record for the next time.
    found.append(await claimed(store, limit=40))

    keys = [record.key for records in found for record in records]
    assert sorted(keys) == [f"{n:02d}" for n in range(40)]


async def test_whoever_lost_a_lease_cannot_write(store: Store, clock: Clock) -> None:
    await store.write([Put("work", "a", b"", due=1000.0)])
    (mine,) = await claimed(store)
    clock.at = 1030.0
    (other,) = await claimed(store, until=1060.0)

    with pytest.raises(VersionConflict):
        await store.write([Put("work", "a", b"late", expects=mine.version)])
    with pytest.raises(VersionConflict):
        await store.write([Check("work", "a", mine.version), Put("state", "x", b"late")])
    assert await store.read([("state", "x")]) == {}

    versions = await store.write([Check("work", "a", other.version), Put("state", "x", b"new")])
    assert versions == (other.version, 1)


async def test_a_check_changes_nothing(store: Store) -> None:
    await store.write([Put("work", "a", b"one", owner="root", due=1000.0)])
    before = await store.read([("work", "a")])

    assert await store.write([Check("work", "a", 1), Check("work", "b", NEW)]) == (1, 0)
    assert await store.read([("work", "a")]) == before


async def test_a_renewed_lease_holds_longer_at_the_same_version(store: Store, clock: Clock) -> None:
    await store.write([Put("work", "a", b"", due=1000.0)])
    mine = await claimed(store)

    (kept,) = await store.renew(mine, until=1090.0)

    clock.at = 1089.0
    assert await claimed(store, until=1200.0) == []
    assert (kept.version, kept.due) == (mine[0].version, 1090.0)
    assert await store.write([Put("work", "a", b"", expects=kept.version)]) == (3,)


async def test_only_leases_that_are_still_held_are_renewed(store: Store, clock: Clock) -> None:
    await store.write([Put("work", key, b"", due=1000.0) for key in ("a", "b", "c", "d")])
    mine = await claimed(store)
    await store.write([Put("work", "a", b"done"), Delete("work", "b")])
    clock.at = 1030.0
    lost = await claimed(store, until=1060.0, limit=1)

    kept = await store.renew(mine, until=1090.0)

    left = {"c", "d"} - {record.key for record in lost}
    assert {record.key for record in kept} == left
    assert await store.renew([], until=1090.0) == []


async def test_a_lease_that_is_given_back_is_due_at_once(store: Store) -> None:
    await store.write([Put("work", "a", b"", due=1000.0)])
    await store.renew(await claimed(store), until=0.0)

    assert [record.version for record in await claimed(store)] == [3]


async def test_a_put_ends_a_lease(store: Store, clock: Clock) -> None:
    await store.write([Put("work", "a", b"", due=1000.0)])
    (mine,) = await claimed(store)
    await store.write([Put("work", "a", b"done", expects=mine.version)])
    clock.at = 9000.0

    assert await claimed(store) == []
    assert await store.renew([mine], until=9999.0) == []


async def test_a_closed_store_claims_nothing(store: Store) -> None:
    await store.write([Put("work", "a", b"", due=1000.0)])
    mine = await claimed(store)
    await store.close()

    with pytest.raises(StoreFailed):
        await claimed(store)
    with pytest.raises(StoreFailed):
        await store.renew(mine, until=1.0)


async def test_sweeping_beside_work_takes_only_what_has_expired(store: Store, clock: Clock) -> None:
    """Leased and due work stays, however many sweep at once."""
    old = [Put("old", f"{n:03d}", b"", expires=clock.at) for n in range(50)]
    work = [Put("work", f"{n:03d}", b"", expires=clock.at + 60, due=0.0) for n in range(20)]
    await store.write([*old, *work])
    claimed = await store.claim("work", until=clock.at + 6, limit=10)
    await asyncio.gather(
        *(store.expire(clock.at, 20) for _ in range(4)),
        *(store.write([Put("work", f"new {n}", b"")]) for n in range(10)),
    )
    while await store.expire(clock.at, 20):
        pass

    assert await store.scan("old", limit=99) == []
    assert len(await store.scan("work", limit=99)) == 30
    assert len(await store.renew(claimed, until=clock.at + 9)) == 10
    assert len(await store.claim("work", until=clock.at + 6, limit=99)) == 10
