"""What a turn costs the root's store: commits wait for the disk, statements for a network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest

import skills_host.consumer.relays
from skills_host.store.records import Change, Key
from skills_host.store.sqlite import SqliteStore
from tests.conftest import open_town
from tests.consumer.roots import EXPECT_REPLIES, Witness
from tests.store.conftest import empty_schema
from tests.store.faults import Relay
from tests.world import Town

SYNC = b"S\0\0\0\4"  # the message with which a client ends what it asks of PostgreSQL


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[int, int]]:
    """Reads and commits of the root's store since it was last asked."""
    counts = {"read": 0, "write": 0}
    read, write = SqliteStore.read, SqliteStore.write

    async def counted_read(self: SqliteStore, keys: Iterable[Key]) -> Any:
        counts["read"] += self._path.stem == "root"
        return await read(self, keys)

    async def counted_write(self: SqliteStore, changes: Sequence[Change]) -> Any:
        counts["write"] += self._path.stem == "root"
        return await write(self, changes)

    def since() -> tuple[int, int]:
        found = counts["read"], counts["write"]
        counts.update(read=0, write=0)
        return found

    # What is slow to be passed on is marked so, which is one commit more on a slow machine.
    monkeypatch.setattr(skills_host.consumer.relays, "LATE", 60.0)
    monkeypatch.setattr(SqliteStore, "read", counted_read)
    monkeypatch.setattr(SqliteStore, "write", counted_write)
    return since


async def cost(town: Town, traffic: Callable[[], tuple[int, int]], text: str) -> tuple[int, int]:
    """Reads and commits of one turn."""
    traffic()
    await town.say(text)
    return traffic()


@pytest.mark.parametrize(
    ("echo", "first", "next", "last"),
    [
        ({}, (3, 4), (3, 4), (5, 6)),
        (EXPECT_REPLIES, (2, 3), (2, 3), (3, 4)),
    ],
)
async def test_turn_through_a_skill_is_cheap(
    empty_town: Town,
    traffic: Callable[[], tuple[int, int]],
    echo: dict[str, str],
    first: tuple[int, int],
    next: tuple[int, int],
    last: tuple[int, int],
) -> None:
    """(reads, commits): taking the floor, keeping it, leaving it."""
    town = await open_town(empty_town, Witness(), echo=echo)

    assert await cost(town, traffic, "echo") == first
    assert await cost(town, traffic, "hello") == next
    assert await cost(town, traffic, "end") == last


async def test_own_answer_costs_two_commits(
    empty_town: Town, traffic: Callable[[], tuple[int, int]]
) -> None:
    """What came in, and what was answered."""
    town = await open_town(empty_town)

    assert await cost(town, traffic, "hello") == (2, 2)


async def test_refusal_costs_nothing(traffic: Callable[[], tuple[int, int]], town: Town) -> None:
    """Whoever may not come in does not reach the store."""
    await town.say("echo")
    handle = town.handle("echo")
    traffic()
    await town.callback("booking", handle, {"type": "message", "text": "x"})
    await town.callback("echo", handle[:-1] + "_", {"type": "message", "text": "x"})

    assert traffic() == (0, 0)


class Watched(Relay):
    """A relay that counts what the database is asked: whoever asks waits for each answer."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def saw(self, data: bytes) -> None:
        self.asked += data.count(SYNC) + data.startswith(b"Q")


@pytest.fixture
async def watched() -> AsyncIterator[tuple[Watched, str]]:
    """A relay to an empty schema, and the address of that through it."""
    async with empty_schema() as url:
        parts, relay = urlsplit(url), Watched()
        await relay.open()
        yield relay, parts._replace(netloc=f"{parts.username}@127.0.0.1:{relay.port}").geturl()
        await relay.cut()


@pytest.mark.durability
@pytest.mark.parametrize(("echo", "cost"), [({}, 7), (EXPECT_REPLIES, 5)])
async def test_postgresql_is_asked_once_for_each_read_and_commit(
    empty_town: Town, watched: tuple[Watched, str], echo: dict[str, str], cost: int
) -> None:
    """As many as there are above, and nothing beside them."""
    relay, url = watched
    town = await open_town(empty_town, Witness(), echo=echo, store={"url": url})
    await town.say("echo")
    turns = []
    for text in ("one", "two", "three", "four"):
        relay.asked = 0
        await town.say(text)
        turns.append(relay.asked)
    await town.close()

    # What the host looks for each second may come between.
    assert min(turns) == cost
