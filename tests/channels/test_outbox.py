"""What a channel cannot take now: kept in the store, sent later, in order."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import skills_host.app
from skills.echo import bot as echo
from skills_host import Root, Turn
from skills_host.channels.outbox import is_passing, pause_after
from skills_host.errors import (
    ChannelFailed,
    SkillsHostError,
    StoreFailed,
    TokenUnavailable,
    TransportFailed,
)
from skills_host.transport import Request, Response
from skills_host.wire import decode, encode
from tests.world import CONSOLE, REPLICA, ROOT, Hold, Town, bot_settings, skill_settings, until

TOO_MANY = Response(429, {"retry-after": "0"})


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for what is due all the time."""
    monkeypatch.setattr(skills_host.app, "ROUND_SECONDS", 0.01)


def speaking() -> Root:
    """A root that says what it hears, twice."""
    root = Root()

    @root.on_message
    async def speak(turn: Turn) -> None:
        await turn.send(f"{turn.text} 1")
        await turn.send(f"{turn.text} 2")

    return root


@pytest.mark.parametrize(
    ("failure", "passing"),
    [
        (ChannelFailed(answered=429), True),
        (ChannelFailed(answered=503), True),
        (ChannelFailed(answered=500), False),
        (ChannelFailed(answered=502), False),
        (ChannelFailed(code="channel-refused", answered=403), False),
        (TransportFailed(sent=False), True),
        (TransportFailed(sent=True), False),
        (TransportFailed(code="deadline"), False),
        (TransportFailed(code="host-not-allowed", sent=False), False),
        (TokenUnavailable(), True),
        (StoreFailed(), False),
    ],
)
def test_only_what_surely_had_no_effect_is_sent_later(
    failure: SkillsHostError, passing: bool
) -> None:
    assert is_passing(failure) is passing


def test_pauses_grow_and_have_an_end() -> None:
    assert [pause_after(n) for n in (1, 2, 3, 50)] == [0.5, 1.0, 2.0, 30.0]


async def test_what_a_channel_does_not_take_is_sent_later_in_order(empty_town: Town) -> None:
    """What is said meanwhile waits behind it; nothing of it can be read in the store."""
    await empty_town.start_root(root=speaking())
    empty_town.send.faults[CONSOLE] = lambda _: TOO_MANY
    answer = await empty_town.post("one")
    await empty_town.post("two")
    (body,) = empty_town.records("outbox").values()
    del empty_town.send.faults[CONSOLE]

    assert answer.status == 200
    assert b"one" not in body
    assert await empty_town.heard(4) == ["one 1", "one 2", "two 1", "two 2"]
    await until(lambda: not empty_town.records("outbox"))
    assert await empty_town.say("three") == ["three 1", "three 2"]


async def test_other_conversations_do_not_wait(empty_town: Town) -> None:
    await empty_town.start_root(root=speaking())

    def to_c1(request: Request) -> Response | None:
        return TOO_MANY if "/c1/" in request.url else None

    empty_town.send.faults[CONSOLE] = to_c1
    await empty_town.post("one")

    assert await empty_town.say("two", conversation="c2") == ["two 1", "two 2"]


async def test_what_another_process_has_left_is_sent(empty_town: Town) -> None:
    await empty_town.start_root(root=speaking())
    empty_town.send.faults[CONSOLE] = lambda _: TOO_MANY
    await empty_town.post("one")
    await empty_town.stop(ROOT)
    del empty_town.send.faults[CONSOLE]
    await empty_town.start_root(root=speaking(), base=REPLICA)

    assert await empty_town.heard(2) == ["one 1", "one 2"]


async def test_a_process_that_stops_while_it_sends_hands_the_rest_over(empty_town: Town) -> None:
    """At once, not when its lease is over; what it was sending carries the same key again."""
    limits = {"lease_seconds": 1000.0, "stop_seconds": 0.01}
    await empty_town.start_root(root=speaking(), limits=limits)
    empty_town.send.faults[CONSOLE] = lambda _: TOO_MANY
    await empty_town.post("one")
    hold = empty_town.send.faults[CONSOLE] = Hold()
    await hold.arrived.wait()
    await empty_town.stop(ROOT)
    del empty_town.send.faults[CONSOLE]
    hold.go.set()
    await empty_town.start_root(root=speaking(), base=REPLICA, limits=limits)

    assert await empty_town.heard(2) == ["one 1", "one 2"]
    await until(lambda: not empty_town.records("outbox"))


async def test_two_processes_empty_a_busy_queue_in_order_and_once(empty_town: Town) -> None:
    """Also while more is said; the channel refuses every other attempt."""
    for base in (ROOT, REPLICA):
        await empty_town.start_root(root=speaking(), base=base, limits={"lease_seconds": 0.3})
    empty_town.console.open("c1")
    attempts = 0

    def moody(_: Request) -> Response | None:
        nonlocal attempts
        attempts += 1
        return TOO_MANY if attempts % 2 else None

    empty_town.send.faults[CONSOLE] = moody
    said = [f"m{n:02d}" for n in range(12)]
    for n, text in enumerate(said):
        await empty_town.post_to((ROOT, REPLICA)[n % 2], text)
    empty_town.send.faults.clear()

    assert await empty_town.heard(24) == [f"{text} {n}" for text in said for n in (1, 2)]
    await until(lambda: not empty_town.records("outbox"))
    assert len(empty_town.said()) == 24


async def test_what_is_refused_later_is_kept_as_dead(empty_town: Town) -> None:
    """And stops nothing that comes behind it."""
    await empty_town.start_root(root=speaking())
    empty_town.send.faults[CONSOLE] = lambda _: TOO_MANY
    await empty_town.post("one")

    def refusing(request: Request) -> Response | None:
        return Response(403) if b"one 1" in (request.body or b"") else None

    empty_town.send.faults[CONSOLE] = refusing

    assert await empty_town.heard(1) == ["one 2"]
    await until(lambda: empty_town.records("dead"))
    (body,) = empty_town.records("dead").values()
    assert b"one 1" not in body
    await until(lambda: not empty_town.records("outbox"))


async def test_what_is_too_old_is_given_up(empty_town: Town) -> None:
    await empty_town.start_root(root=speaking(), limits={"outbox_seconds": 0.01})
    empty_town.send.faults[CONSOLE] = lambda _: TOO_MANY
    await empty_town.post("one")
    await until(lambda: len(empty_town.records("dead")) == 2)

    assert not empty_town.records("outbox")


async def test_a_skill_is_told_of_the_channel_unless_it_is_recorded(town: Town) -> None:
    await town.say("echo")
    said = {"type": "message", "text": "later"}
    town.send.faults[CONSOLE] = lambda _: TOO_MANY

    assert (await town.callback("echo", town.handle("echo"), said))[0] == 429
    assert not town.records("outbox")


async def test_a_callback_may_be_answered_when_it_is_recorded(empty_town: Town) -> None:
    toml = {
        "host": {"callbacks": "recorded"},
        "bots": {"root": bot_settings("root", "root")},
        "skills": {"echo": skill_settings("echo")},
    }
    await empty_town.start(ROOT, "root", toml)
    await empty_town.start_skill("echo", echo)
    await empty_town.say("echo")
    empty_town.send.faults[CONSOLE] = lambda _: TOO_MANY
    said = {"type": "message", "text": "later"}

    assert (await empty_town.callback("echo", empty_town.handle("echo"), said))[0] == 200
    del empty_town.send.faults[CONSOLE]
    assert (await empty_town.heard(2))[-1] == "later"


# Ids of what is sent later


RECORDED = {"callbacks": "recorded"}


@dataclass
class Late:
    """A skill and its conversation, on a channel that takes nothing at the moment."""

    town: Town
    handle: str = ""

    async def say(self, text: str) -> str:
        """What the skill says; the id that it gets."""
        url = f"{ROOT}/api/skills/v3/conversations/{self.handle}/activities"
        body = encode({"type": "message", "text": text})
        answer = await self.town.send(Request("POST", url, self.town.bearer("echo"), body, 20))
        assert answer.status == 200
        return str(decode(answer.body)["id"])

    async def update(self, activity_id: str, text: str) -> tuple[int, str]:
        activity = {"type": "message", "text": text}
        return await self.town.callback(
            "echo", self.handle, activity, method="PUT", to=f"/{activity_id}"
        )

    async def delete(self, activity_id: str) -> tuple[int, str]:
        return await self.town.callback("echo", self.handle, method="DELETE", to=f"/{activity_id}")

    def done(self) -> list[str]:
        """What the bot did at the channel."""
        entries = self.town.console.conversation("c1").transcript.entries
        return [f"{entry.operation} {entry.text}" for entry in entries]

    async def goes_well(self, count: int) -> list[str]:
        """The channel takes everything again; what the user sees when all is sent."""
        del self.town.send.faults[CONSOLE]
        await self.town.heard(count)
        await until(lambda: not self.town.records("outbox"))
        return self.town.said()


@pytest.fixture
async def late(empty_town: Town) -> Late:
    await empty_town.start_skill("echo", echo)
    await empty_town.start_root(host=RECORDED)
    await empty_town.say("echo")
    empty_town.send.faults[CONSOLE] = lambda _: TOO_MANY
    return Late(empty_town, empty_town.handle("echo"))


async def test_what_waits_can_be_changed(late: Late) -> None:
    """The user sees the last of it, in its place."""
    first, second = await late.say("one"), await late.say("two")

    assert await late.update(first, "1") == await late.update(first, "uno") == (200, "")
    assert await late.goes_well(3) == ["Echo: echo", "uno", "two"]
    assert first != second


async def test_what_waits_can_be_taken_back(late: Late) -> None:
    first = await late.say("one")
    await late.say("two")

    assert await late.update(first, "1") == await late.delete(first) == (200, "")
    assert await late.goes_well(2) == ["Echo: echo", "two"]


async def test_what_was_sent_later_can_be_changed_and_taken_back(late: Late) -> None:
    """By the id that the skill was given when it waited; the channel gets its own."""
    first, second = await late.say("one"), await late.say("two")
    await late.goes_well(3)

    assert await late.update(first, "uno") == await late.delete(second) == (200, "")
    done = late.town.console.conversation("c1").transcript.entries
    assert late.done()[-2:] == ["update uno", "delete "]
    assert {entry.activity_id for entry in done[-2:]} == {e.activity_id for e in done[1:3]}


async def test_what_is_being_sent_is_changed_when_it_is_there(late: Late) -> None:
    """In order, whether the change comes before, while, or after it is sent."""
    first = await late.say("one")
    hold = late.town.send.faults[CONSOLE] = Hold(lambda request: request.method == "POST")
    await hold.arrived.wait()

    assert await late.update(first, "uno") == (200, "")
    hold.go.set()
    await until(lambda: not late.town.records("outbox"))
    assert late.done()[1:] == ["send one", "update uno"]


async def test_a_later_id_is_its_skills_own(late: Late) -> None:
    """And that of nothing else is refused, as it always was."""
    first = await late.say("one")
    await late.town.start_skill("booking", echo)
    foreign = await late.update("later.0123456789abcdef", "x")

    assert foreign == (403, "not-activity-owner")
    assert await late.town.callback("booking", late.handle, method="DELETE", to=f"/{first}") == (
        403,
        "not-conversation-owner",
    )


async def test_what_is_never_sent_is_not_changed(late: Late) -> None:
    """The change is dropped with it."""
    first = await late.say("one")
    late.town.send.faults[CONSOLE] = lambda _: Response(403)
    await until(lambda: late.town.records("dead"))
    await late.town.quiet()

    assert await late.update(first, "uno") == (403, "channel-refused")
    assert not late.town.records("outbox")


async def test_a_bots_own_words_that_wait_have_an_id_too(empty_town: Town) -> None:
    root = Root()

    @root.on_message
    async def speak(turn: Turn) -> None:
        first = await turn.send("one")
        second = await turn.send("two")
        await turn.update(first, "uno")
        await turn.delete(second)
        await turn.send("three")

    await empty_town.start_root(root=root)
    empty_town.send.faults[CONSOLE] = lambda _: TOO_MANY
    assert (await empty_town.post("hello")).status == 200
    del empty_town.send.faults[CONSOLE]

    assert await empty_town.heard(2) == ["uno", "three"]
    await until(lambda: not empty_town.records("outbox"))


async def test_changes_of_what_waits_survive_a_restart(late: Late) -> None:
    first, second = await late.say("one"), await late.say("two")
    await late.update(first, "uno")
    await late.town.stop(ROOT)
    await late.town.start_root(host=RECORDED)
    await late.delete(second)

    assert await late.goes_well(2) == ["Echo: echo", "uno"]
    assert await late.update(first, "one again") == (200, "")
