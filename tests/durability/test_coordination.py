"""Two roots on one store that wake each other through a real Redis, and what they do without it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

import skills_host.app
from skills.echo import bot as echo
from skills_host import Root, Turn
from skills_host.bot.lanes import Lanes
from skills_host.cli.conversations import ended, open_conversations
from skills_host.store import coordination, redis
from skills_host.store.address import store_from_url
from skills_host.store.records import Store
from skills_host.store.redis import RedisCoordination
from skills_host.transport import Request, Response
from tests.store.conftest import empty_schema
from tests.store.redis import REDIS, Line, line_to_redis, own_prefix
from tests.world import REPLICA, ROOT, SKILLS, Hold, Town

pytestmark = pytest.mark.durability

BOTH = (ROOT, REPLICA)
NEVER = 3600.0


class Pair:
    """A town with two roots on one store, which reach Redis over a line."""

    def __init__(self, town: Town, *, store: str, prefix: str, line: Line) -> None:
        self.town = town
        self.store = store
        self.prefix = prefix
        self.line = line

    async def start(self, root: Root | None = None, **settings: Any) -> None:
        """Start both."""
        for base in BOTH:
            await self.start_one(base, root, **settings)

    async def start_one(self, base: str, root: Root | None = None, **settings: Any) -> None:
        """Start the one at this address."""
        reached = {"url": self.line.url, "prefix": self.prefix}
        store = {"url": self.store} if self.store else {}
        await self.town.start_root(
            root=root, base=base, coordination=reached, store=store, **settings
        )

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        """The store, as a third process has it open."""
        store = store_from_url(self.store or f"sqlite:///{self.town.folder / 'root.db'}")
        await store.open()
        yield store
        await store.close()

    async def say(self, base: str, text: str, **members: Any) -> int:
        """What a user says at one of them; the status of the answer."""
        self.town.console.open("c1", is_group=False)
        return (await self.town.post_to(base, text, **members)).status

    async def health(self, base: str) -> tuple[int, dict[str, Any]]:
        """What `/readyz` says."""
        answer = await self.town.send(Request("GET", f"{base}/readyz", {}, None, 20))
        return answer.status, json.loads(answer.body)

    async def says(self, base: str, state: str) -> None:
        """Wait until `/readyz` says that Redis is so."""
        async with asyncio.timeout(20):
            while (await self.health(base))[1]["checks"]["coordination"] != state:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@pytest.fixture(params=["sqlite", "postgres"])
async def pair(request: pytest.FixtureRequest, empty_town: Town) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        is_postgres = request.param == "postgres"
        store = await stack.enter_async_context(empty_schema()) if is_postgres else ""
        prefix = await stack.enter_async_context(own_prefix())
        line = await stack.enter_async_context(line_to_redis())
        await empty_town.start_skill("echo", echo)
        yield Pair(empty_town, store=store, prefix=prefix, line=line)
        for base in (REPLICA, ROOT):
            if base in empty_town._running:
                await empty_town.stop(base)


@pytest.fixture
def told_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by itself: without being told, whoever waits would wait for an hour."""
    monkeypatch.setattr(redis, "CALM", NEVER)
    monkeypatch.setattr(coordination, "POLL", NEVER)
    monkeypatch.setattr(redis, "POLL", NEVER)
    monkeypatch.setattr(skills_host.app, "ROUND_SECONDS", NEVER)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who has looked whether it is next in its lane."""
    seen: list[str] = []
    first = Lanes._first

    async def counted(self: Lanes, session: str) -> int:
        seen.append(session)
        return await first(self, session)

    monkeypatch.setattr(Lanes, "_first", counted)
    return seen


async def arrived(looks: list[str], count: int) -> None:
    async with asyncio.timeout(10):
        while len(looks) < count:  # noqa: ASYNC110 - what is looked at has no event
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("told_only")
async def test_the_next_turn_at_another_process_is_woken(pair: Pair, looks: list[str]) -> None:
    await pair.start()
    await pair.say(ROOT, "echo")
    hold = pair.town.send.faults[SKILLS["echo"]] = Hold()
    first = asyncio.create_task(pair.say(ROOT, "one"))
    await hold.arrived.wait()
    second = asyncio.create_task(pair.say(REPLICA, "two"))
    # At first, and when Redis has begun to pass on what is told.
    await arrived(looks, 2)
    hold.go.set()

    assert list(await asyncio.gather(first, second)) == [200, 200]
    assert pair.town.said() == ["Echo: echo", "Echo: one", "Echo: two"]
    assert len(looks) == 3


@pytest.mark.usefixtures("told_only")
async def test_turns_at_both_go_in_turn(pair: Pair) -> None:
    """Each wakes the next, wherever it is."""
    await pair.start()
    await pair.say(ROOT, "echo")
    hold = pair.town.send.faults[SKILLS["echo"]] = Hold()
    turns: list[asyncio.Task[int]] = []
    async with pair.opened() as store:
        for n in range(8):
            turns.append(asyncio.create_task(pair.say(BOTH[n % 2], f"number {n}")))
            while len(await store.scan("lane", limit=9)) <= n:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await hold.arrived.wait()
    hold.go.set()

    assert await asyncio.gather(*turns) == [200] * 8
    assert pair.town.said()[1:] == [f"Echo: number {n}" for n in range(8)]


@pytest.mark.usefixtures("told_only")
async def test_who_waits_for_another_ones_answer_is_woken(pair: Pair) -> None:
    gate, root, begun = asyncio.Event(), Root(), asyncio.Event()

    @root.on_message
    async def slow(turn: Turn) -> None:
        begun.set()
        await gate.wait()
        await turn.send("once")

    await pair.start(root)
    first = asyncio.create_task(pair.say(ROOT, "hello", id="same"))
    await begun.wait()
    second = asyncio.create_task(pair.say(REPLICA, "hello", id="same"))
    await asyncio.sleep(0.1)
    assert not second.done()
    gate.set()

    assert list(await asyncio.gather(first, second)) == [200, 200]
    assert pair.town.said() == ["once"]


@pytest.mark.usefixtures("told_only")
async def test_what_a_stopping_process_gives_back_is_taken_up_at_once(pair: Pair) -> None:
    begun: list[str] = []

    def root(name: str, *, stuck: bool) -> Root:
        bot = Root()

        @bot.on_message
        async def answer(turn: Turn) -> None:
            begun.append(name)
            if stuck:
                await asyncio.Event().wait()
            await turn.send(f"said {name}")

        return bot

    limits = {"stop_seconds": 0.01, "lease_seconds": NEVER}
    await pair.start_one(ROOT, root("first", stuck=True), limits=limits)
    await pair.start_one(REPLICA, root("second", stuck=False), limits=limits)
    waiting = asyncio.create_task(pair.say(ROOT, "hello"))
    async with asyncio.timeout(10):
        while not begun:  # noqa: ASYNC110 - what is looked at has no event
            await asyncio.sleep(0.01)
    await pair.town.stop(ROOT)

    assert await pair.town.heard(1) == ["said second"]
    assert await waiting == 503


@pytest.mark.usefixtures("told_only")
async def test_what_an_operator_ends_is_ended_at_once(pair: Pair) -> None:
    await pair.start()
    await pair.say(ROOT, "echo")
    command = RedisCoordination(REDIS, prefix=pair.prefix, name="command")
    await command.open()

    def wake() -> None:
        command.wake(coordination.DUE)

    async with pair.opened() as store:
        (open_one,) = await open_conversations(store)
        assert await ended(store, [open_one.handle], wait=10, wake=wake) == []
    await command.close()


async def test_without_redis_every_answer_comes_all_the_same(pair: Pair) -> None:
    """It is cut in the middle of a wait, and comes back by itself."""
    await pair.start()
    await pair.say(ROOT, "echo")
    assert await pair.health(REPLICA) == (200, healthy("ok", "ok"))
    hold = pair.town.send.faults[SKILLS["echo"]] = Hold()
    first = asyncio.create_task(pair.say(ROOT, "one"))
    await hold.arrived.wait()
    second = asyncio.create_task(pair.say(REPLICA, "two"))
    await pair.line.cut()
    for base in BOTH:
        await pair.says(base, "coordination-away")
    third = asyncio.create_task(pair.say(ROOT, "three"))
    status, body = await pair.health(REPLICA)
    assert "Redis" in body.pop("why")["coordination"]
    assert (status, body) == (200, healthy("degraded", "coordination-away"))
    hold.go.set()
    assert list(await asyncio.gather(first, second, third)) == [200] * 3

    await pair.line.mend()
    for base in BOTH:
        await pair.says(base, "ok")
    assert await pair.say(REPLICA, "four") == 200
    said = pair.town.said()
    assert said[:2] + sorted(said[2:4]) == ["Echo: echo", "Echo: one", "Echo: three", "Echo: two"]
    assert said[4:] == ["Echo: four"]


def healthy(status: str, coordination: str) -> dict[str, Any]:
    """What `/readyz` should say."""
    checks = {"store": "ok", "channel keys": "ok", "entra keys": "ok"}
    return {"status": status, "checks": checks | {"coordination": coordination}}


async def test_a_root_starts_without_redis_and_says_so(pair: Pair) -> None:
    await pair.line.cut()
    await pair.start()

    assert (await pair.health(ROOT))[1]["status"] == "degraded"
    assert [await pair.say(base, "echo") for base in BOTH] == [200, 200]
    await pair.line.mend()
    await pair.says(ROOT, "ok")


async def test_lost_wake_ups_cost_only_time(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both believe that Redis is there, and nothing that is told arrives."""

    async def lost(self: RedisCoordination) -> None:
        self._told.clear()

    monkeypatch.setattr(RedisCoordination, "_publish", lost)
    await pair.start()
    await pair.say(ROOT, "echo")
    hold = pair.town.send.faults[SKILLS["echo"]] = Hold()
    first = asyncio.create_task(pair.say(ROOT, "one"))
    await hold.arrived.wait()
    second = asyncio.create_task(pair.say(REPLICA, "two"))
    await asyncio.sleep(0)
    hold.go.set()

    assert list(await asyncio.gather(first, second)) == [200, 200]
    assert pair.town.said()[1:] == ["Echo: one", "Echo: two"]


async def test_a_skill_that_failed_here_is_left_alone_there(pair: Pair) -> None:
    limits = {"breaker_failures": 3, "breaker_seconds": 60}
    await pair.start(limits=limits)
    fails = pair.town.send.faults[SKILLS["echo"]] = FailsAlways()
    for base in BOTH:
        await pair.say(base, "echo")
    assert fails.times == 2
    # Each alone would let it fail three times.
    async with asyncio.timeout(10):
        for base in BOTH:
            known = -1
            while known != fails.times:
                known = fails.times
                await pair.say(base, "echo")
                await asyncio.sleep(0.01)
    known = fails.times
    for base in BOTH:
        await pair.say(base, "echo")

    assert fails.times == known <= 4
    assert (await pair.health(ROOT))[1]["status"] == "ok"


class FailsAlways:
    """A fault: a skill whose gateway fails."""

    times = 0

    def __call__(self, request: Request) -> Response:
        self.times += 1
        return Response(502)


async def test_a_rate_counts_the_turns_at_both(pair: Pair) -> None:
    await pair.start(bot={"rate": {"turns": 4, "seconds": 3600}})
    posts = [pair.say(base, f"number {n}") for n in range(4) for base in BOTH]
    found = await asyncio.gather(*posts)

    assert sorted(found) == [200] * 4 + [429] * 4


async def test_without_redis_each_counts_for_itself(pair: Pair) -> None:
    await pair.start(bot={"rate": {"turns": 2, "seconds": 3600}})
    await pair.line.cut()
    for base in BOTH:
        await pair.says(base, "coordination-away")
    found = [await pair.say(base, f"number {n}") for n in range(3) for base in BOTH]

    assert sorted(found) == [200] * 4 + [429] * 2
