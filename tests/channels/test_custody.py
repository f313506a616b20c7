"""One process empties a queue: others may put something in, and take it when it is left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skills_host.channels.custody import Custody
from skills_host.store.records import Put, Record
from skills_host.store.sqlite import SqliteStore
from tests.store.conftest import Clock

KEY = ("outbox", "q")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
    """A store with one queue that is due."""
    store = SqliteStore(tmp_path / "host.db", now=clock)
    await store.open()
    await store.write([Put(*KEY, b"ab", due=0.0)])
    yield store
    await store.close()


async def claimed(store: SqliteStore, clock: Clock, token: str) -> Custody:
    (record,) = await store.claim("outbox", until=clock.at + 6, limit=1)
    return Custody(store, record, token=token, now=clock, seconds=6)


async def put_behind(store: SqliteStore, more: bytes) -> None:
    """What a turn does, of whatever process."""
    found = (await store.read([KEY]))[KEY]
    body = found.body + more
    await store.write([Put(*KEY, body, found.version, found.owner, due=found.due)])


async def queue(store: SqliteStore) -> Record:
    return (await store.read([KEY]))[KEY]


async def test_what_is_put_behind_meanwhile_stays(store: SqliteStore, clock: Clock) -> None:
    custody = await claimed(store, clock, "first")
    await put_behind(store, b"c")

    assert await custody.taken()
    await put_behind(store, b"d")
    assert await custody.rewritten(lambda body: body[1:])
    assert custody.record.body == (await queue(store)).body == b"bcd"


async def test_it_is_kept_as_long_as_something_is_done(store: SqliteStore, clock: Clock) -> None:
    custody = await claimed(store, clock, "first")
    await custody.taken()
    for _ in range(3):
        clock.at += 5
        assert await custody.rewritten(lambda body: body)
        assert await store.claim("outbox", until=clock.at + 6, limit=1) == []


async def test_who_was_too_slow_changes_nothing_any_more(store: SqliteStore, clock: Clock) -> None:
    slow = await claimed(store, clock, "slow")
    await slow.taken()
    clock.at += 7
    other = await claimed(store, clock, "other")

    assert await other.taken()
    assert not await slow.rewritten(lambda body: b"")
    assert (await queue(store)).body == b"ab"


async def test_who_wakes_before_the_other_has_begun_goes_on(
    store: SqliteStore, clock: Clock
) -> None:
    """Whichever of the two it is, it is one of them."""
    slow = await claimed(store, clock, "slow")
    await slow.taken()
    clock.at += 7
    other = await claimed(store, clock, "other")

    assert await slow.rewritten(lambda body: body)
    assert not await other.taken()


async def test_what_is_given_back_is_claimed_when_it_is_due(
    store: SqliteStore, clock: Clock
) -> None:
    custody = await claimed(store, clock, "first")
    await custody.taken()
    await custody.rewritten(lambda body: body, due=clock.at + 1)

    assert await store.claim("outbox", until=clock.at + 6, limit=1) == []
    clock.at += 1
    assert await (await claimed(store, clock, "second")).taken()


async def test_an_emptied_queue_is_gone(store: SqliteStore, clock: Clock) -> None:
    custody = await claimed(store, clock, "first")
    await custody.taken()

    assert await custody.rewritten(lambda body: b"")
    assert KEY not in await store.read([KEY])
