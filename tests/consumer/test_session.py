"""The session's transitions: whoever comes late changes nothing."""

from __future__ import annotations

from skills_host.consumer.session import (
    IDLE,
    ActiveSkill,
    Pending,
    Session,
    asked,
    ended,
    heard,
    resumed,
    started,
    suspended,
)

ECHO = ActiveSkill("echo", "handle-1", 7.5)


def test_skill_takes_the_floor() -> None:
    """With the handle that it is known by, and since when."""
    assert started(IDLE, ECHO) == Session(ECHO)


def test_skill_leaves_the_floor() -> None:
    """Named by its handle."""
    assert ended(Session(ECHO), handle="handle-1") == IDLE


def test_late_end_leaves_the_floor_alone() -> None:
    """The handle of an earlier conversation, even of the same skill, ends nothing."""
    assert ended(Session(ECHO), handle="handle-0") == Session(ECHO)


def test_nobody_leaves_an_idle_floor() -> None:
    """There is nothing to end."""
    assert ended(IDLE, handle="handle-1") == IDLE


def test_session_is_what_was_stored() -> None:
    """With a skill and without."""
    waits = ActiveSkill("booking", "handle-0", 1.5, "stream", 3, "{}", ("weather",))
    asks = Pending(("echo", "booking"), '{"text":"hi"}', "turn-1", 2.5)
    known = (IDLE, Session(ECHO), Session(ECHO, (waits,), asks), Session(None, (), asks))
    for session in known:
        assert Session.parse(session.encode()) == session


WAITS = ActiveSkill("booking", "handle-0", 1.5)


def test_end_gives_the_floor_back_to_who_waits() -> None:
    session = Session(ECHO, (WAITS,))

    assert ended(session, handle="handle-1") == Session(WAITS)
    assert ended(session, handle="handle-0") == Session(ECHO)


def test_at_most_two_skills_are_begun_and_not_ended() -> None:
    left = suspended(Session(WAITS))

    assert left == Session(None, (WAITS,))
    assert suspended(started(left, ECHO)) is None
    assert suspended(IDLE) is None


def test_who_waits_goes_on_only_where_nobody_has_the_floor() -> None:
    assert resumed(Session(None, (WAITS,))) == Session(WAITS)
    assert resumed(Session(ECHO, (WAITS,))) is None
    assert resumed(IDLE) is None


def test_message_is_counted_and_ends_a_question() -> None:
    """Anything else that a skill gets leaves both alone."""
    asks = asked(Session(ECHO), Pending(("echo",), "{}", "turn-1", 2.5))

    assert heard(asks, said="") == asks
    after = heard(asks, said='{"text":"x"}')
    assert after.pending is None
    assert after.active is not None
    assert (after.active.turns, after.active.said) == (1, '{"text":"x"}')
    assert heard(IDLE, said="x") == IDLE
