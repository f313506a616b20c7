"""Ends that somebody is still to be told of: kept as leases, and told by whoever is alive."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

import skills_host.app
import skills_host.consumer.delivery
from skills.echo import bot as echo
from skills_host import Bot, Turn
from skills_host.activity import Activity
from skills_host.auth.claims import Identity
from skills_host.bot.adapter import APOLOGY
from skills_host.bot.turn import Place
from skills_host.consumer.conversation import SkillConversation
from skills_host.consumer.conversations import KIND
from skills_host.consumer.ends import ATTEMPTS
from skills_host.consumer.telling import SkillEnd, Telling
from skills_host.reference import ConversationReference
from skills_host.store.records import Put
from skills_host.store.sqlite import SqliteStore
from tests.consumer.roots import EXPECT_REPLIES, Witness
from tests.world import ROOT, Town, until

END = {"type": "endOfConversation", "code": "completedSuccessfully", "value": {"n": 5}}


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for what is due all the time."""
    monkeypatch.setattr(skills_host.app, "ROUND_SECONDS", 0.01)


class Stuck(Witness):
    """A root whose code for ends does not come to its own end."""

    async def _ended(self, turn: Turn) -> None:
        await super()._ended(turn)
        await asyncio.Event().wait()


class Failing(Witness):
    """A root whose code for ends fails."""

    async def _ended(self, turn: Turn) -> None:
        await super()._ended(turn)
        turn.state.set("ends", 1)
        raise ValueError("a fault of the root's own")


def test_what_is_to_be_told_is_what_was_stored() -> None:
    """All of it, and nothing of what is told."""
    reference = ConversationReference.parse(b'{"conversation":{"id":"c1"}}')
    place = Place(reference, "https://api.botframework.com", "session-1")
    end = SkillEnd(Activity.parse(b'{"type":"endOfConversation","value":{"b":2}}'))
    from_callback = SkillEnd(end.activity, Identity("skill", "root-id", "skill-id"))
    for known in (
        Telling(),
        Telling("turn-1", end, "{}", ("echo",), "booking", 3, "turn-1#2", 1),
        Telling("end/handle-1", from_callback, deaths=2),
    ):
        conversation = SkillConversation(
            "handle-1", "echo", "skill-id", "root-id", place, 1.5, closed=True, telling=known
        )
        assert SkillConversation.parse("handle-1", conversation.encode()) == conversation


async def ending(town: Town) -> Witness:
    """An end comes to a root that is stopped while its code is told of it; the next one."""
    stuck, root = Stuck(), Witness()
    await town.start_skill("echo", echo)
    await town.start_root(root=stuck, limits={"stop_seconds": 0.05})
    await town.say("echo")
    callback = asyncio.create_task(town.callback("echo", town.handle("echo"), END))
    await until(lambda: stuck.ends)
    await town.stop(ROOT)
    assert (await callback)[0] == 503
    return root


async def test_an_end_is_handed_over_where_a_process_stops(empty_town: Town) -> None:
    """At once; the skill that sends it again is answered, and nobody is told twice."""
    root = await ending(empty_town)
    await empty_town.start_root(root=root)
    await until(lambda: root.ends)
    handle = empty_town.handle("echo")
    await until(lambda: b"telling" not in empty_town.records(KIND)[handle])

    assert root.ends == [("echo", "completedSuccessfully", {"n": 5})]
    assert (await empty_town.callback("echo", handle, END)) == (404, "conversation-ended")
    assert (await empty_town.say("hello"))[-1].startswith("I did not understand")


async def claimed(town: Town, *, begun: bool) -> None:
    """Another process takes the end up and dies; before, or after it has begun to tell."""
    store = SqliteStore(town.folder / "root.db", now=town.now)
    await store.open()
    (record,) = await store.claim(KIND, until=0.0, limit=9)
    if begun:
        known = SkillConversation.parse(record.key, record.body)
        telling = replace(known.telling, deaths=known.telling.deaths + 1)
        body = replace(known, telling=telling).encode()
        await store.write([Put(KIND, record.key, body, owner=record.owner, due=0.0)])
    await store.close()


async def test_an_end_that_kills_all_who_tell_of_it_is_given_up(empty_town: Town) -> None:
    """The user is told, and the root's code is not run any more."""
    root = await ending(empty_town)
    for _ in range(ATTEMPTS - 1):
        await claimed(empty_town, begun=True)
    await empty_town.start_root(root=root)

    assert await empty_town.heard(2) == ["Echo: echo", APOLOGY]
    await until(lambda: b"telling" not in empty_town.records(KIND)[empty_town.handle("echo")])
    assert root.ends == []


async def test_an_end_that_nobody_could_tell_of_is_not_given_up(empty_town: Town) -> None:
    """Hosts without its root pass it on, however long that is away."""
    root = await ending(empty_town)
    for _ in range(2 * ATTEMPTS):
        await claimed(empty_town, begun=False)
    await empty_town.start_root(root=root)
    await until(lambda: root.ends)

    assert root.ends == [("echo", "completedSuccessfully", {"n": 5})]


@pytest.mark.parametrize("delivery", ["normal", "expectReplies"])
async def test_where_the_roots_code_for_an_end_fails_who_waited_asks_nevertheless(
    empty_town: Town, delivery: str
) -> None:
    """The user is told, what the code has set does not count, and the end is not told again."""
    root, waiting = Failing(), Bot()

    @waiting.on_message
    async def ask(turn: Turn) -> None:
        await turn.send("What?")

    @waiting.on_event("repromptDialog")
    async def ask_again(turn: Turn) -> None:
        await turn.send("As I said: what?")

    await empty_town.start_skill("echo", echo)
    await empty_town.start_skill("booking", waiting)
    await empty_town.start_root(root=root, echo={"delivery": delivery}, booking={"suspend": True})
    for text in ("@booking", "@echo hi", "end"):
        await empty_town.post(text)
    said = await empty_town.heard(5)
    await until(lambda: b"telling" not in empty_town.records(KIND)[empty_town.handle("echo")])

    assert said == ["What?", "Echo: hi", said[2], APOLOGY, "As I said: what?"]
    assert len(root.ends) == 1
    assert not any("ends" in key for key in empty_town.records("state"))


async def test_an_end_that_came_upon_what_the_root_began_itself_is_told_once(
    empty_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody takes up such work; where it fails when all are told, nobody tells again either."""
    monkeypatch.setattr(skills_host.consumer.delivery, "TELLING", 0.0)
    root = Witness()
    places: list[Place] = []
    root.on_message("here")(lambda turn: noted(turn, places))

    async def begin(turn: Turn) -> None:
        await root.skills.begin(turn, "echo", Activity.make("message", text="end"))
        raise ValueError("a fault of the root's own")

    await empty_town.start_skill("echo", echo)
    await empty_town.start_root(root=root, echo=EXPECT_REPLIES)
    await empty_town.say("here")
    with pytest.raises(ValueError, match="own"):
        await root.continue_conversation(places[0], begin)
    await asyncio.sleep(0.1)

    assert root.ends == [("echo", "completedSuccessfully", {"echoed": 0})]
    assert b"telling" not in empty_town.records(KIND)[empty_town.handle("echo")]


async def noted(turn: Turn, places: list[Place]) -> None:
    """Keep where a turn is."""
    places.append(turn.place)
