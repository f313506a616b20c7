"""What a skill remembers: for one call, for a conversation, for a user; and for whom."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from skills_host import Bot, Turn
from skills_host.bot.state import CallProperties
from skills_host.store.records import Store
from skills_host.store.sqlite import SqliteStore
from skills_host.transport import Request
from tests.world import CONSOLE, IDS, SKILLS, Town, bot_settings

SCOPES = ("call", "state", "user")
ECHO = f"{SKILLS['echo']}/api/messages"


class Counter(Bot):
    """Counts what it hears in every scope; `end` ends, `fail` fails, `wait` waits."""

    def __init__(self) -> None:
        super().__init__()
        self.waits, self.go = asyncio.Event(), asyncio.Event()
        self.on_message("end")(self._end)
        self.on_message("fail")(self._fail)
        self.on_message("end and fail")(self._end_and_fail)
        self.on_message(self._count)
        self.on_event("wait")(self._wait)

    async def _count(self, turn: Turn) -> None:
        counts = []
        for scope in SCOPES:
            properties = getattr(turn, scope)
            counts.append(1 + await properties.get("n", 0))
            properties.set("n", counts[-1])
        await turn.send(" ".join(map(str, counts)))

    async def _end(self, turn: Turn) -> None:
        turn.call.set("before", True)
        await turn.end()
        turn.call.set("n", 100)

    async def _fail(self, turn: Turn) -> None:
        turn.call.set("n", 100)
        raise RuntimeError

    async def _end_and_fail(self, turn: Turn) -> None:
        await turn.end()
        raise RuntimeError

    async def _wait(self, turn: Turn) -> None:
        self.waits.set()
        await self.go.wait()
        turn.call.set("n", 100)


class Callers:
    """Bots that call the skill as consumers of SDKs do: with a conversation id of their own."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.n = 0

    async def tell(
        self, text: str = "", caller: str = "root", conversation: str = "k1", **members: Any
    ) -> list[str]:
        self.n += 1
        activity = {
            "type": "message",
            "id": f"a{self.n}",
            "channelId": "console",
            "serviceUrl": CONSOLE,
            "from": {"id": "ann"},
            "recipient": {"id": "bot"},
            "conversation": {"id": conversation},
            "deliveryMode": "expectReplies",
            "text": text,
        }
        headers = self.town.bearer(caller, audience="echo")
        body = json.dumps(activity | members).encode()
        answer = await self.town.send(Request("POST", ECHO, headers, body, 20))
        assert answer.status == 200
        replies = json.loads(answer.body)["activities"]
        return [reply["text"] for reply in replies if reply["type"] == "message"]


async def started(town: Town, **limits: Any) -> Counter:
    bot = Counter()
    allowed = [IDS["root"], IDS["booking"]]
    toml = {
        "host": {"limits": limits},
        "bots": {"echo": bot_settings("skill", "echo", allowed_callers=allowed)},
    }
    await town.start(SKILLS["echo"], "echo", toml, {"echo": bot})
    return bot


@pytest.fixture
async def callers(empty_town: Town) -> Callers:
    await started(empty_town)
    return Callers(empty_town)


@pytest.mark.parametrize(
    "end",
    [
        *[{"text": "end"}, {"text": "fail"}, {"text": "end and fail"}],
        *[{"type": "endOfConversation"}],
    ],
)
async def test_call_is_forgotten_with_its_end(callers: Callers, end: dict[str, Any]) -> None:
    """The skill's own, the caller's, and that of a turn that fails; nothing else is."""
    assert [await callers.tell("one"), await callers.tell("two")] == [["1 1 1"], ["2 2 2"]]
    await callers.tell(**end)

    assert not [key for key in callers.town.records("state", of="echo") if key.startswith("call/")]
    assert await callers.tell("three") == ["1 3 3"]


async def test_another_conversation_is_another_call(callers: Callers) -> None:
    await callers.tell("one", conversation="k1")

    assert await callers.tell("one", conversation="k2") == ["1 1 2"]
    await callers.tell("end", conversation="k2")
    assert await callers.tell("two", conversation="k1") == ["2 2 3"]


async def test_callers_share_nothing(callers: Callers) -> None:
    """Not even what the same user said to the other, in a conversation with the same id."""
    await callers.tell("one", caller="root")

    assert await callers.tell("one", caller="booking") == ["1 1 1"]
    await callers.tell("end", caller="booking")
    assert await callers.tell("two", caller="root") == ["2 2 2"]


async def test_two_at_once(callers: Callers) -> None:
    tell = [callers.tell("x", conversation=f"k{n % 3}") for n in range(9)]
    said = sorted(reply for (reply,) in [await one for one in tell])

    assert [counts.split()[0] for counts in said] == sorted("123" * 3)


async def test_call_is_remembered_across_a_restart(callers: Callers) -> None:
    await callers.tell("one")
    await callers.town.stop(SKILLS["echo"])
    await started(callers.town)

    assert await callers.tell("two") == ["2 2 2"]
    await callers.tell("end")
    await callers.town.stop(SKILLS["echo"])
    await started(callers.town)
    assert await callers.tell("three") == ["1 3 3"]


async def test_what_runs_still_at_the_end_belongs_to_no_later_call(empty_town: Town) -> None:
    bot, callers = await started(empty_town), Callers(empty_town)
    await callers.tell("one")
    waiting = asyncio.create_task(callers.tell(type="event", name="wait"))
    await bot.waits.wait()
    await callers.tell(type="endOfConversation")
    bot.go.set()
    await waiting

    assert await callers.tell("two") == ["1 2 2"]


async def test_call_whose_end_never_came_is_forgotten_in_time(empty_town: Town) -> None:
    """Unless it is used."""
    await started(empty_town, session_seconds=100, total_seconds=100)
    callers, clock = Callers(empty_town), empty_town.now
    await callers.tell("one")
    empty_town.now = lambda: clock() + 60
    assert await callers.tell("two") == ["2 2 2"]
    empty_town.now = lambda: clock() + 120
    assert await callers.tell("three") == ["3 3 3"]
    empty_town.now = lambda: clock() + 221

    assert await callers.tell("four") == ["1 4 4"]


async def test_dialog_at_a_channel_has_a_call_too(empty_town: Town) -> None:
    """Of a bot that nobody called: from one of its ends to the next."""
    await empty_town.start(
        "http://127.0.0.1:9002",
        "echo",
        {"bots": {"echo": bot_settings("skill", "root")}},
        {"echo": Counter()},
    )

    assert [await empty_town.say("one"), await empty_town.say("two")] == [["1 1 1"], ["2 2 2"]]
    await empty_town.say("end")
    assert await empty_town.say("three") == ["1 3 3"]


# The properties of a call


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = SqliteStore(tmp_path / "x.db")
    await opened.open()
    yield opened
    await opened.close()


async def saved(store: Store, call: CallProperties) -> None:
    await call.located()
    changes = call.changes()
    if changes:
        call.saved(changes, await store.write(changes))


async def test_what_is_read_is_kept_longer(store: Store) -> None:
    """Once half of its time is over; else nothing is written."""
    now = 4_000_000_000.0

    def call(after: float) -> CallProperties:
        return CallProperties(store, "s", now=lambda: now + after, lifetime=100)

    first = call(0)
    first.set("n", 1)
    await saved(store, first)
    early, late = call(40), call(60)

    assert [await early.get("n"), early.changes()] == [1, []]
    assert await late.get("n") == 1
    assert [change.expires for change in late.changes()] == [now + 160]  # type: ignore[union-attr]


async def test_nothing_is_read_that_is_not_asked_for(store: Store) -> None:
    call = CallProperties(store, "s", now=lambda: 0.0, lifetime=100)
    await store.close()
    await call.located()

    assert call.changes() == []
