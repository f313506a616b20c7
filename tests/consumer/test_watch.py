"""Skills that stay silent, last too long, or are ended by an operator."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

import skills_host.app
from skills.echo import bot as echo
from skills_host.cli.conversations import ended, open_conversations
from skills_host.consumer.conversations import Patience
from skills_host.consumer.watch import ORDERED
from skills_host.store.records import Put
from skills_host.store.sqlite import SqliteStore
from tests.bot.test_inbox import hold_skill
from tests.conftest import open_town
from tests.consumer.roots import Witness
from tests.world import ROOT, Town, until

TIMED_OUT = "echo has ended, because nothing has happened for a long time."


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for what is due all the time."""
    monkeypatch.setattr(skills_host.app, "ROUND_SECONDS", 0.01)


class Later:
    """The town's clock, which can be put forward."""

    def __init__(self, town: Town) -> None:
        self._now, self.by = town.now, 0.0
        town.now = self

    def __call__(self) -> float:
        return self._now() + self.by


async def opened(town: Town, **limits: Any) -> tuple[Witness, Later]:
    root, later = Witness(), Later(town)
    await open_town(town, root, limits=limits)
    return root, later


def test_patience_is_the_shorter_of_both() -> None:
    patience = Patience(idle=10, total=100)

    assert patience.ends(since=0, heard=50) == 60
    assert patience.ends(since=0, heard=95) == 100


async def test_a_silent_skill_is_ended_and_all_are_told(empty_town: Town) -> None:
    root, later = await opened(empty_town, idle_seconds=60)
    await empty_town.say("echo")
    later.by = 61

    assert await empty_town.heard(2) == ["Echo: echo", TIMED_OUT]
    await until(lambda: root.ends)
    assert root.ends == [("echo", "botTimedOut", None)]
    await until(lambda: empty_town.to_skill("echo")[-1].type == "endOfConversation")
    assert empty_town.to_skill("echo")[-1].code == "botTimedOut"
    assert (await empty_town.say("hello"))[-1].startswith("I did not understand")


async def test_a_skill_that_speaks_is_not_silent(empty_town: Town) -> None:
    _, later = await opened(empty_town, idle_seconds=60)
    await empty_town.say("echo")
    handle = empty_town.handle("echo")
    later.by = 40
    await empty_town.callback("echo", handle, {"type": "message", "text": "still here"})
    later.by = 80
    await asyncio.sleep(0.1)

    assert empty_town.said() == ["Echo: echo", "still here"]
    later.by = 101
    assert (await empty_town.heard(3))[-1] == TIMED_OUT


async def test_a_user_who_speaks_keeps_the_skill(empty_town: Town) -> None:
    _, later = await opened(empty_town, idle_seconds=60)
    for later.by in (0, 50, 100):
        await empty_town.say("echo")
    await asyncio.sleep(0.1)

    assert empty_town.said() == ["Echo: echo"] * 3


async def test_a_conversation_outlives_what_is_kept_of_others(empty_town: Town) -> None:
    """However short that is, a skill keeps the floor until its time is over; then all are told."""
    root, later = await opened(empty_town, session_seconds=5, idle_seconds=60)
    await empty_town.say("echo")
    later.by = 40
    await asyncio.sleep(0.1)
    await empty_town.say("more")
    handle = empty_town.handle("echo")
    later.by = 80
    await empty_town.callback("echo", handle, {"type": "message", "text": "here"})
    later.by = 120
    await asyncio.sleep(0.1)
    assert empty_town.said() == ["Echo: echo", "Echo: more", "here"]
    later.by = 141

    assert (await empty_town.heard(4))[-1] == TIMED_OUT
    await until(lambda: empty_town.to_skill("echo")[-1].type == "endOfConversation")
    await until(lambda: root.ends)


async def test_an_end_is_told_where_it_comes_when_a_conversation_is_forgotten(
    empty_town: Town,
) -> None:
    """As with the defaults of both, where nobody but the skill has spoken since the beginning."""
    _, later = await opened(empty_town, session_seconds=90, idle_seconds=60, total_seconds=90)
    await empty_town.say("echo")
    later.by = 50
    await empty_town.callback(
        "echo", empty_town.handle("echo"), {"type": "message", "text": "here"}
    )
    later.by = 91

    assert (await empty_town.heard(3))[-1] == TIMED_OUT


async def test_a_skill_that_lasts_too_long_is_ended_though_it_speaks(empty_town: Town) -> None:
    _, later = await opened(empty_town, idle_seconds=60, total_seconds=90)
    await empty_town.say("echo")
    later.by = 50
    await empty_town.say("more")
    later.by = 91

    assert (await empty_town.heard(3))[-1] == TIMED_OUT


async def test_a_skill_has_a_patience_and_words_of_its_own(empty_town: Town) -> None:
    later = Later(empty_town)
    await empty_town.start_root(echo={"idle_seconds": 5, "texts": {"timed_out": "Bye, {title}."}})
    await empty_town.start_skill("echo", echo)
    await empty_town.say("echo")
    later.by = 6

    assert (await empty_town.heard(2))[-1] == "Bye, echo."


async def test_callbacks_after_such_an_end_are_refused(empty_town: Town) -> None:
    _, later = await opened(empty_town, idle_seconds=60)
    await empty_town.say("echo")
    handle = empty_town.handle("echo")
    later.by = 61
    await empty_town.heard(2)
    answer = await empty_town.callback("echo", handle, {"type": "message", "text": "late"})

    assert answer == (404, "conversation-ended")


async def test_an_operator_ends_a_skill_that_hangs(empty_town: Town) -> None:
    """The open call is given up, and the user is told at once."""
    root, _ = await opened(empty_town)
    await empty_town.say("echo")
    hold = hold_skill(empty_town)
    waiting = asyncio.create_task(empty_town.post("hello"))
    await hold.arrived.wait()
    empty_town.send.faults.clear()
    store = SqliteStore(empty_town.folder / "root.db")
    await store.open()
    (found,) = await open_conversations(store, skill="echo")

    assert await ended(store, [found.handle], wait=5) == []
    assert (await waiting).status == 200
    assert await open_conversations(store) == []
    assert await ended(store, [found.handle], wait=0) == []
    await empty_town.heard(2)
    assert empty_town.said() == ["Echo: echo", TIMED_OUT]
    await until(lambda: root.ends)
    assert root.ends == [("echo", ORDERED, None)]
    await store.close()


async def test_an_end_is_told_by_whoever_is_alive(empty_town: Town) -> None:
    """A process that closed a conversation and died leaves the telling to others."""
    root, _ = await opened(empty_town, idle_seconds=60)
    await empty_town.say("echo")
    handle = empty_town.handle("echo")
    await empty_town.stop(ROOT)
    store = SqliteStore(empty_town.folder / "root.db")
    await store.open()
    (found,) = await open_conversations(store)
    body = replace(found, closed=True, ending="botTimedOut").encode()
    await store.write([Put("handle", handle, body, owner=found.skill_app_id, due=1.0)])
    await store.close()
    await empty_town.start_root(root=root)

    assert (await empty_town.heard(2))[-1] == TIMED_OUT
    await until(lambda: b'"ending":""' in empty_town.records("handle")[handle])
