"""What a channel cannot take now: kept in the store, sent later, in order."""

from __future__ import annotations

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
