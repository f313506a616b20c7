"""Turns that a process has left unfinished, and processes beside each other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from skills_host.auth.claims import Identity
from skills_host.bot.turn import Turn
from skills_host.consumer.orchestrator import Root
from skills_host.store.records import Append, Put
from skills_host.store.sqlite import SqliteStore
from skills_host.wire import encode_members
from tests.bot.test_inbox import counting_root, hold_skill
from tests.world import IDS, REPLICA, ROOT, Town, until

CHANNEL = Identity("channel", IDS["root"], service_url="http://127.0.0.1:9001")


def recorded(activity: dict[str, Any], *, due: float) -> Put:
    """The record of an activity whose process has died."""
    members = {"activity": json.dumps(activity).encode(), "identity": CHANNEL.encode()}
    return Put("inbound", f"root/x/{activity['id']}", encode_members(members), due=due)


@pytest.fixture
async def store(empty_town: Town) -> AsyncIterator[SqliteStore]:
    """The root's store, as another process has it open."""
    opened = SqliteStore(empty_town.folder / "root.db")
    await opened.open()
    yield opened
    await opened.close()


def said(town: Town, text: str) -> dict[str, Any]:
    return town.console.activity(text, user="ann", conversation="c1")


def test_an_identity_is_stored_whole() -> None:
    endorsed = Identity("channel", "b", "a", "t", "i", "u", frozenset({"x"}), 7.5)

    assert Identity.parse(endorsed.encode()) == endorsed
    assert Identity.parse(CHANNEL.encode()) == CHANNEL


async def test_what_a_dead_process_has_left_is_taken_up(
    empty_town: Town, store: SqliteStore
) -> None:
    root, seen = counting_root()
    await empty_town.start_root(root=root)
    await store.write([recorded(said(empty_town, "hello"), due=1.0)])

    assert await empty_town.heard(1) == ["number 1"]
    assert seen == ["hello"]
    (key,) = empty_town.records("inbound")
    await until(lambda: b"answer" in empty_town.records("inbound")[key])


async def test_turns_that_are_taken_up_keep_their_order(
    empty_town: Town, store: SqliteStore
) -> None:
    """The later one is taken up first, and waits."""
    activities = [said(empty_town, text) for text in ("one", "two", "three")]
    await empty_town.start_root(root=counting_root()[0])
    await empty_town.post("before", conversation="c2")
    (lane,) = {"root/console/c1:"}
    records = [recorded(activity, due=9.0 - n) for n, activity in enumerate(activities)]
    await store.write([*records, Append("lane", lane, records[0].key.encode())])
    for record in records[1:]:
        await store.write([Append("lane", lane, record.key.encode())])

    root, seen = counting_root()
    await empty_town.stop(ROOT)
    await empty_town.start_root(root=root)
    await until(lambda: len(seen) == 3)

    assert seen == ["one", "two", "three"]


async def test_a_turn_that_kills_its_processes_is_given_up(
    empty_town: Town, store: SqliteStore
) -> None:
    root, seen = counting_root()
    record = recorded(said(empty_town, "deadly"), due=1.0)
    for n in range(5):
        await store.write([Put("inbound", record.key, record.body, due=1.0 if n == 4 else None)])
    await empty_town.start_root(root=root)

    (told,) = await empty_town.heard(1)
    assert told.startswith("Sorry")
    assert seen == []


async def test_the_same_activity_at_two_replicas_has_one_effect(empty_town: Town) -> None:
    gate = asyncio.Event()
    seen: list[str] = []
    root = Root()

    @root.on_message
    async def slow(turn: Turn) -> None:
        seen.append(turn.text)
        await gate.wait()
        await turn.send("once")

    both = (ROOT, REPLICA)
    for base in both:
        await empty_town.start_root(root=root, base=base)
    empty_town.console.open("c1", is_group=False)
    id = said(empty_town, "hi")["id"]
    posts = [asyncio.create_task(empty_town.post_to(base, "hi", id=id)) for base in both]
    await until(lambda: bool(seen))
    await asyncio.sleep(0.05)
    gate.set()

    assert [answer.status for answer in await asyncio.gather(*posts)] == [200, 200]
    assert (seen, empty_town.said()) == (["hi"], ["once"])


async def test_a_session_keeps_its_order_across_replicas(town: Town) -> None:
    await town.start_root(base=REPLICA)
    await town.say("echo")
    hold = hold_skill(town)
    first = asyncio.create_task(town.post_to(ROOT, "one"))
    await hold.arrived.wait()
    known = len(town.records("inbound"))
    second = asyncio.create_task(town.post_to(REPLICA, "two"))
    await until(lambda: len(town.records("inbound")) > known)
    third = asyncio.create_task(town.post_to(ROOT, "three"))
    await until(lambda: len(town.records("inbound")) > known + 1)
    hold.go.set()
    await asyncio.gather(first, second, third)

    assert town.said() == ["Echo: echo", "Echo: one", "Echo: two", "Echo: three"]
    assert town.records("lane") == {}


async def test_a_process_that_stops_hands_its_turns_over(empty_town: Town) -> None:
    """The other replica begins at once, not when the lease is over."""
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

    limits = {"stop_seconds": 0.01, "lease_seconds": 60.0}
    await empty_town.start_root(root=root("first", stuck=True), limits=limits)
    waiting = asyncio.create_task(empty_town.post("hello"))
    await until(lambda: begun == ["first"])
    await empty_town.start_root(root=root("second", stuck=False), limits=limits, base=REPLICA)
    await empty_town.stop(ROOT)

    assert await empty_town.heard(1) == ["said second"]
    assert (await waiting).status == 503


# Answers in time


async def test_a_long_turn_is_answered_202_and_goes_on(empty_town: Town) -> None:
    gate, root = asyncio.Event(), Root()

    @root.on_message
    async def slow(turn: Turn) -> None:
        await gate.wait()
        await turn.send("at last")

    await empty_town.start_root(root=root, limits={"answer_seconds": 0.05})

    assert (await empty_town.post("hello")).status == 202
    gate.set()
    assert await empty_town.heard(1) == ["at last"]


async def test_an_invoke_is_not_answered_before_its_turn(empty_town: Town) -> None:
    root = Root()

    @root.on_invoke("slow")
    async def slow(turn: Turn) -> None:
        await asyncio.sleep(0.1)
        turn.respond(200, {"done": True})

    await empty_town.start_root(root=root, limits={"answer_seconds": 0.01})
    answer = await empty_town.post("", type="invoke", name="slow")

    assert (answer.status, json.loads(answer.body)) == (200, {"done": True})


async def test_too_busy_is_answered_429_and_nothing_is_recorded(town: Town) -> None:
    await town.stop(ROOT)
    await town.start_root(limits={"lane_turns": 1})
    await town.say("echo")
    hold = hold_skill(town)
    first = asyncio.create_task(town.post("one"))
    await hold.arrived.wait()
    known = len(town.records("inbound"))
    second = asyncio.create_task(town.post("two"))
    await until(lambda: len(town.records("inbound")) > known)
    refused = await town.post("three")
    beside = await town.say("booking", user="bob", conversation="c2")

    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    assert json.loads(refused.body)["error"]["code"] == "too-busy"
    assert beside
    hold.go.set()
    assert [answer.status for answer in await asyncio.gather(first, second)] == [200, 200]
    assert [text for text in town.said() if "three" in text] == []


async def test_too_busy_when_too_many_turns_are_open(town: Town) -> None:
    await town.stop(ROOT)
    await town.start_root(limits={"open_turns": 1})
    hold = hold_skill(town)
    first = asyncio.create_task(town.post("echo"))
    await hold.arrived.wait()

    assert (await town.post("hello", conversation="c2")).status == 429
    hold.go.set()
    assert (await first).status == 200
