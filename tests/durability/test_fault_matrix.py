"""What goes wrong around a root, cell by cell: what went wrong × how the skill's answers come back.

Whatever it is, the caller is answered within a deadline and with the right status, the user is
told, floor and handle are as they should be, and the next message works.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import skills_host.app
from skills_host import Bot, Root, Turn
from skills_host.consumer.session import Session
from skills_host.store.address import store_from_url
from skills_host.store.records import Store
from skills_host.store.sqlite import SqliteStore
from skills_host.transport import Request, Response
from skills_host.wire import decode, encode
from tests.consumer.chains import start_link
from tests.consumer.roots import EXPECT_REPLIES, Witness
from tests.durability.faulty import (
    Door,
    Fault,
    answering,
    breaking,
    dripping,
    replies,
    silent,
    small_disk,
)
from tests.store.faults import Breakage, database_faults, file_faults
from tests.store.redis import Line, line_to_redis, own_prefix
from tests.world import CONSOLE, ROOT, Town, until

pytestmark = pytest.mark.durability

COLUMNS: dict[str, dict[str, Any]] = {"normal": {}, "expectReplies": EXPECT_REPLIES, "invoke": {}}
DEADLINE = 20  # seconds, far beyond those of the host: who is not answered is not answered
# For a skill that nothing is wrong with, however busy the machine is.
PATIENT = {"skill_seconds": 5.0, "channel_seconds": 5.0}
LIMITS = {"skill_seconds": 0.3, "channel_seconds": 0.3, "stop_seconds": 0.2}
UNAVAILABLE = "echo is not available right now. Please try again later."
TIMED_OUT = "echo has ended, because nothing has happened for a long time."
SLOW = 0.05  # seconds between what the host looks for again


class Talker(Bot):
    """A skill that says what it hears, and does what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []
        self.told: list[str | None] = []
        self.on_message(self._hear)
        self.on_invoke("ask")(self._ask)
        self.on_end(self._end)

    async def _hear(self, turn: Turn) -> None:
        self.heard.append(turn.text)
        await turn.send(f"heard {turn.text}")

    async def _ask(self, turn: Turn) -> None:
        self.heard.append("ask")
        turn.respond(200, {"asked": True})

    async def _end(self, turn: Turn) -> None:
        self.told.append(turn.activity.code)


@dataclass
class Scene:
    """A town with a root, a skill behind a door, and the conversation that both are in."""

    town: Town
    root: Witness
    skill: Talker
    door: Door
    column: str
    store: Breakage | None = None

    async def act(self) -> Response:
        """What the user does while something is wrong, and the root's answer to it."""
        members = {"type": "invoke", "name": "ask"} if self.column == "invoke" else {}
        async with asyncio.timeout(DEADLINE):
            return await self.town.post("hello", **members)

    async def floor(self) -> str | None:
        """The skill that has the floor, as the store says."""
        (body,) = self.town.records("session").values()
        active = Session.parse(body).active
        return active.skill if active else None

    async def call_back(self, text: str = "late") -> tuple[int, str]:
        """What the skill says by itself, in the conversation it was given first."""
        handle = self.town.to_skill("echo")[0].conversation.id or ""
        return await self.town.callback("echo", handle, {"type": "message", "text": text})

    async def health(self) -> tuple[int, dict[str, Any]]:
        """What the root says of itself."""
        answer = await self.town.send(Request("GET", f"{ROOT}/readyz", timeout=20))
        return answer.status, json.loads(answer.body)

    async def mended(self) -> None:
        """Wait until the root is well again, by itself."""
        assert self.store is not None
        await self.store.mend()
        async with asyncio.timeout(DEADLINE):
            while (await self.health())[0] != 200:  # noqa: ASYNC110 - a peer has no event
                await asyncio.sleep(0.01)

    async def works(self, *, said: int) -> None:
        """The next messages reach the skill, and their answers the user, in order."""
        self.door.fault = None
        self.town.send.faults.clear()
        for text in ("echo again", "and again"):
            assert (await self.town.post(text)).status == 200
            assert (await self.town.heard(said + 1))[said:] == [f"heard {text}"]
            said += 1


Open = Callable[..., Awaitable[Scene]]


class Stores:
    """The stores that hosts have opened, by the names of their files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._of: dict[str, Store] = {}
        self._opened = store_from_url
        monkeypatch.setattr(skills_host.app, "store_from_url", self._noted)

    def faults(self, town: Town) -> dict[str, Breakage]:
        """What can happen to the root's file."""
        path = town.folder / "root.db"
        store = self._of[path.name]
        assert isinstance(store, SqliteStore)
        return file_faults(store, path)

    def _noted(self, url: str, **more: Any) -> Store:
        store = self._opened(url, **more)
        self._of[url.rpartition("/")[2]] = store
        return store


@pytest.fixture
async def scene(empty_town: Town, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    monkeypatch.setattr(skills_host.app, "ROUND_SECONDS", SLOW)
    async with AsyncExitStack() as stack:

        async def opened(column: str, **more: Any) -> Scene:
            root, skill, door = Witness(), Talker(), Door(empty_town)
            await door.open()
            stack.push_async_callback(door.close)
            send = await stack.enter_async_context(door.reached())
            await empty_town.start_skill("echo", skill)
            limits = LIMITS | more.pop("limits", {})
            echo = {"endpoint": door.endpoint, **COLUMNS[column], **more.pop("echo", {})}
            await empty_town.start_root(root=root, limits=limits, echo=echo, send=send, **more)
            assert await empty_town.say("echo") == ["heard echo"]
            return Scene(empty_town, root, skill, door, column)

        yield opened
        await empty_town.close()


# What a skill does wrong with one activity


@dataclass(frozen=True)
class Row:
    """What the skill's door does, and what must come of it in each column.

    `said` is what the user sees, with what the skill itself said before it failed; `code` is that
    of the end that the root's bot gets, or empty if the skill keeps the floor.
    """

    fault: Fault
    said: tuple[str, ...] = (UNAVAILABLE,)
    code: str = "channelFailed"
    status: int = 502
    columns: tuple[str, ...] = tuple(COLUMNS)


HALF = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n"
SKILL_ROWS = {
    "hangs": Row(silent, code="botTimedOut"),
    "sends half a head": Row(breaking(b"HTTP/1.1 200 OK\r\nContent-")),
    "sends half a body": Row(breaking(HALF + replies("half")[:20])),
    "sends no HTTP": Row(breaking(b"SSH-2.0-x\r\n\r\n")),
    "breaks off": Row(breaking()),
    "answers 500": Row(answering(500)),
    "answers 401": Row(answering(401)),
    "answers 404": Row(answering(404), columns=("normal", "expectReplies")),
    "answers 503 for good": Row(answering(503, Retry_After="0")),
    "is a slow loris": Row(dripping, code="botTimedOut"),
    "answers no replies": Row(answering(200, b"<html>"), columns=("expectReplies",)),
    "crashes after its first reply": Row(
        breaking(after=True), ("heard hello", UNAVAILABLE), columns=("normal",)
    ),
    "crashes with its reply unsent": Row(breaking(after=True), columns=("expectReplies", "invoke")),
    "crashes in the middle of its replies": Row(
        breaking(HALF + replies("one", "two")[:50]), columns=("expectReplies",)
    ),
}
# An invoke is answered by whatever status the skill answers with.
INVOKE_ANSWERS = {"answers 500": 500, "answers 503 for good": 503}
CELLS = [(name, column) for name, row in SKILL_ROWS.items() for column in row.columns]


@pytest.mark.parametrize(("name", "column"), CELLS)
async def test_skill(scene: Open, name: str, column: str) -> None:
    row, there = SKILL_ROWS[name], await scene(column)
    there.door.fault = row.fault
    answer = await there.act()
    keeps = column == "invoke" and name in INVOKE_ANSWERS
    said = () if keeps else row.said
    expected = INVOKE_ANSWERS.get(name, row.status) if column == "invoke" else 200

    assert answer.status == expected
    assert there.town.said()[1:] == list(said)
    assert there.root.ends == ([] if keeps else [("echo", row.code, None)])
    assert await there.floor() == ("echo" if keeps else None)
    if not keeps:
        assert await there.call_back() == (404, "conversation-ended")
    await there.works(said=1 + len(said))


@pytest.mark.parametrize("column", COLUMNS)
async def test_skill_refuses_connections(scene: Open, column: str) -> None:
    there = await scene(column)
    await there.door.close()
    answer = await there.act()

    assert answer.status == (502 if column == "invoke" else 200)
    assert there.town.said()[1:] == [UNAVAILABLE]
    assert there.root.ends == [("echo", "channelFailed", None)]
    assert await there.floor() is None
    await there.door.open()
    await there.works(said=2)


@pytest.mark.parametrize("column", COLUMNS)
async def test_skill_comes_back_while_it_is_asked(scene: Open, column: str) -> None:
    """A refused connection surely did not reach it; nor did what it wants to be asked later."""
    there = await scene(column)
    count = 0

    async def busy_once(door: Door, request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        given = answering(429, Retry_After="0") if count == 1 else Door.pass_on
        await given(door, request, writer)

    there.door.fault = busy_once
    answer = await there.act()
    said = 1 if column == "invoke" else 2

    assert (answer.status, count) == (200, 2)
    assert len(there.town.said()) == said
    await there.works(said=said)


# What a skill does wrong with time


@pytest.mark.parametrize("column", COLUMNS)
async def test_skill_never_ends(scene: Open, column: str) -> None:
    """Silence is over after a while: skill, user and root's bot are told, once."""
    there = await scene(column, limits={"idle_seconds": 0.4})
    await there.town.heard(2)
    await until(lambda: there.root.ends and there.skill.told)

    assert there.town.said() == ["heard echo", TIMED_OUT]
    assert there.root.ends == [("echo", "botTimedOut", None)]
    assert there.skill.told == ["botTimedOut"]
    assert await there.floor() is None
    assert await there.call_back() == (404, "conversation-ended")


@pytest.mark.parametrize("column", ["normal", "expectReplies"])
async def test_skill_ends_twice(scene: Open, column: str) -> None:
    """The first end counts, and nobody hears of the second."""
    there = await scene(column)
    end = {"type": "endOfConversation", "code": "completedSuccessfully", "value": 1}
    late = end | {"value": 2}
    handle = there.town.handle("echo")
    if column == "expectReplies":
        there.door.fault = answering(200, encode({"activities": [end, late]}))
        assert (await there.act()).status == 200
        ends = []
    else:
        both = (there.town.callback("echo", handle, one) for one in (end, end))
        ends = sorted(await asyncio.gather(*both))
    third = await there.town.callback("echo", handle, late)

    assert ends in ([], [(200, ""), (404, "conversation-ended")])
    assert third == (404, "conversation-ended")
    assert there.root.ends == [("echo", "completedSuccessfully", 1)]
    assert await there.floor() is None
    await there.works(said=1)


@pytest.mark.parametrize("column", COLUMNS)
async def test_skill_replies_late(scene: Open, column: str) -> None:
    """What it says after its answer arrives, in order; what it says after its end does not."""
    there = await scene(column)
    answer = await there.act()
    before = 1 if column == "invoke" else 2
    late = [await there.call_back(f"late {n}") for n in range(3)]
    await there.works(said=before + 3)
    assert await there.town.say("cancel") == ["echo was cancelled."]

    assert (answer.status, late) == (200, [(200, "")] * 3)
    assert there.town.said()[before : before + 3] == ["late 0", "late 1", "late 2"]
    assert await there.call_back() == (404, "conversation-ended")
    assert there.town.said()[-1] == "echo was cancelled."


@pytest.mark.parametrize("column", COLUMNS)
async def test_same_activity_twice(scene: Open, column: str) -> None:
    """At once and again later: one effect, one answer."""
    there = await scene(column)
    members = {"type": "invoke", "name": "ask"} if column == "invoke" else {}
    activity = there.town.console.activity("hello", user="ann", conversation="c1") | members
    post = there.town.console.post
    answers = list(await asyncio.gather(post(activity, timeout=20), post(activity, timeout=20)))
    answers.append(await post(activity, timeout=20))
    said = 1 if column == "invoke" else 2

    assert len({(answer.status, answer.body) for answer in answers}) == 1
    assert answers[0].status == 200
    assert there.skill.heard == ["echo", "ask" if column == "invoke" else "hello"]
    assert len(there.town.said()) == said
    await there.works(said=said)


# What a channel does wrong


@dataclass(frozen=True)
class ChannelRow:
    """How the channel answers what is sent to it; what comes of a skill's callback by itself, and
    the status of the user's message. `later` if the user gets the answer in the end; else with
    `code` a skill ends that could not say it."""

    fault: Callable[[Request], Any]
    callback: tuple[int, str]
    answer: int = 502
    later: bool = False
    code: str = "channelFailed"


async def _never(_: Request) -> Response:
    await asyncio.Event().wait()
    raise AssertionError


CHANNEL_ROWS = {
    "answers 429": ChannelRow(lambda _: Response(429), (429, "channel-failed"), 200, later=True),
    "answers 403": ChannelRow(lambda _: Response(403), (403, "channel-refused")),
    "answers 500": ChannelRow(lambda _: Response(500), (502, "channel-failed")),
    "hangs": ChannelRow(_never, (504, "deadline"), 504, code="botTimedOut"),
}


@pytest.mark.parametrize("name", CHANNEL_ROWS)
async def test_channel_in_the_turn(scene: Open, name: str) -> None:
    """What the root says itself: the channel learns of it, and what passes is sent later."""
    row, there = CHANNEL_ROWS[name], await scene("expectReplies")
    there.town.send.faults[CONSOLE] = row.fault
    answer = await there.act()
    called_back = await there.call_back("by itself")
    there.town.send.faults.clear()
    later = ["heard hello", "by itself"] if row.later else []

    assert answer.status == row.answer
    assert called_back == ((200, "") if row.later else row.callback)
    assert await there.town.heard(1 + len(later)) == ["heard echo", *later]
    assert await there.floor() == "echo"
    await there.works(said=1 + len(later))


@pytest.mark.parametrize("name", CHANNEL_ROWS)
async def test_channel_in_a_callback(scene: Open, name: str) -> None:
    """The skill learns of it. Ours says later what passes; else it has failed, and is ended."""
    row, there = CHANNEL_ROWS[name], await scene("normal")
    there.town.send.faults[CONSOLE] = row.fault
    called_back = await there.call_back("by itself")
    answer = await there.act()
    there.town.send.faults.clear()
    later = ["heard hello"] if row.later else []

    assert called_back == row.callback
    assert answer.status == row.answer
    assert await there.town.heard(1 + len(later)) == ["heard echo", *later]
    assert await there.floor() == ("echo" if row.later else None)
    assert there.root.ends == ([] if row.later else [("echo", row.code, None)])
    await there.works(said=1 + len(later))


# What goes wrong with the store


STORES = ("sqlite full", "sqlite read-only", "sqlite lost")
DATABASES = ("postgres lost", "postgres full", "postgres read-only", "postgres too many")
SAFE = {"retry": "safe"}


@pytest.fixture
async def stored(
    scene: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Open]:
    """Opens a scene whose root has a store that can be broken."""
    stores = Stores(monkeypatch)
    async with AsyncExitStack() as stack:

        async def opened(column: str, name: str, **more: Any) -> Scene:
            kind, _, fault = name.partition(" ")
            more["limits"] = PATIENT | more.get("limits", {})
            if name == "sqlite full":
                disk, breakage = stack.enter_context(small_disk(tmp_path))
                there = await scene(column, store={"url": f"sqlite:///{disk}/root.db"}, **more)
                there.store = breakage
                stack.push_async_callback(there.town.stop, ROOT)
                return there
            if kind == "sqlite":
                there = await scene(column, **more)
                there.store = stores.faults(there.town)[fault]
                return there
            url, faults = await stack.enter_async_context(database_faults())
            there = await scene(column, store={"url": url}, **more)
            there.store = faults[fault]
            stack.push_async_callback(there.town.stop, ROOT)
            return there

        yield opened


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("name", [*STORES, *DATABASES])
async def test_store(stored: Open, name: str, column: str) -> None:
    """Nothing is taken that cannot be kept; the root says so, and is well when its store is."""
    there = await stored(column, name)
    breakage = there.store
    assert breakage is not None
    await breakage.cut()
    answer = await there.act()
    called_back = await there.call_back()
    status, health = await there.health()
    await there.mended()
    said = len(there.town.said())

    assert (answer.status, decode(answer.body)["error"]["code"]) == (503, "store-failed")
    assert called_back == (503, "store-failed")
    assert (status, health["checks"]["store"]) == (503, "store-failed")
    assert there.skill.heard == ["echo"]
    assert (await there.act()).status == 200
    await there.works(said=said + (column != "invoke"))


@pytest.mark.parametrize("name", ["sqlite full", "postgres lost"])
async def test_store_in_the_middle_of_a_turn(stored: Open, name: str) -> None:
    """What was recorded is taken up again, and the user gets one answer."""
    limits = {"lease_seconds": 0.3}
    there = await stored("expectReplies", name, echo=SAFE, limits=limits)
    breakage = there.store
    assert breakage is not None

    async def cut_meanwhile(door: Door, request: Request, writer: asyncio.StreamWriter) -> None:
        there.door.fault = None
        await breakage.cut()
        await door.pass_on(request, writer)

    there.door.fault = cut_meanwhile
    answer = await there.act()
    await there.mended()
    await there.town.heard(2)
    await there.works(said=2)

    assert (answer.status, decode(answer.body)["error"]["code"]) == (503, "store-failed")
    assert there.skill.heard == ["echo", "hello", "echo again", "and again"]
    assert there.town.said() == [f"heard {text}" for text in there.skill.heard]


# What goes wrong between processes, and between bots


@pytest.mark.parametrize("fault", ["refuses", "says nothing"])
@pytest.mark.parametrize("column", COLUMNS)
async def test_redis(scene: Open, column: str, fault: str) -> None:
    """It only wakes others: without it everything is answered, and health says so."""
    async with own_prefix() as prefix, line_to_redis() as line:
        away = "coordination-away"
        coordination = {"url": line.url, "prefix": prefix}
        there = await scene(column, coordination=coordination, limits=PATIENT)
        await (line.cut() if fault == "refuses" else _swallowed(line))
        answer = await there.act()
        said = 1 if column == "invoke" else 2

        assert answer.status == 200
        assert len(there.town.said()) == said
        assert there.root.ends == []
        async with asyncio.timeout(DEADLINE):
            while (await there.health())[1]["checks"]["coordination"] != away:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await there.works(said=said)
        assert (await there.health())[0] == 200
        await line.mend()
        await there.works(said=said + 2)
        await there.town.stop(ROOT)


async def _swallowed(line: Line) -> None:
    line.swallow()


@pytest.mark.parametrize("column", COLUMNS)
async def test_bots_call_each_other(empty_town: Town, column: str) -> None:
    """A calls B calls A: it is left at once, the user is told, and nobody keeps the floor."""
    root, middle = Witness(), Root()
    links = {"root": (root, "booking"), "booking": (middle, "root")}
    for name, (bot, other) in links.items():
        settings = COLUMNS[column]
        await start_link(
            empty_town, name, bot, callers=(other,), skills=(other,), settings=settings
        )
    for bot, other in links.values():
        bot.on_invoke("ask")(partial(_begin, bot, other))
    members = {"type": "invoke", "name": "ask"} if column == "invoke" else {}
    async with asyncio.timeout(DEADLINE):
        answer = await empty_town.post("go", **members)
        await empty_town.quiet()

    assert answer.status == (508 if column == "invoke" else 200)
    assert empty_town.said() == ["I cannot pass you on to booking: we would go round in circles."]
    assert {code for _, code, _ in root.ends} == {"callLoop"}
    assert (await empty_town.say("hello"))[0].startswith("I did not understand")


async def _begin(bot: Root, skill: str, turn: Turn) -> None:
    await bot.skills.begin(turn, skill)
