"""The session's transitions: whoever comes late changes nothing."""

from __future__ import annotations

from skills_host.consumer.session import IDLE, ActiveSkill, Session, ended, started

ECHO = ActiveSkill("echo", "handle-1", 7.5)


def test_skill_takes_the_floor() -> None:
    """With the handle that it is known by, and since when."""
    assert started(IDLE, skill="echo", handle="handle-1", now=7.5) == Session(ECHO)


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
    for session in (IDLE, Session(ECHO)):
        assert Session.parse(session.encode()) == session
