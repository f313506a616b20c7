"""The session: which skill has the floor in a user's conversation. Pure transitions.

A session is a record of its own and changes by these functions only. Each names the handle it is
about, so that something late (an end, a failure) that concerns an earlier skill changes nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from skills_host.wire import decode, encode

__all__ = [
    "IDLE",
    "KIND",
    "ActiveSkill",
    "Pending",
    "Session",
    "asked",
    "ended",
    "heard",
    "resumed",
    "started",
    "suspended",
]

KIND = "session"
DEEP = 2  # skills that have been begun and not ended: the active one, and one that waits for it


@dataclass(frozen=True, slots=True)
class ActiveSkill:
    """The skill that gets what the user says; `since` in seconds since the epoch.

    `delivery` is how its answers come back if that was chosen for this conversation. `turns` is
    how many messages it got, `said` the last of them (as kept by `consumer.replay`), `tried` which
    skills have declined that message before.
    """

    skill: str
    handle: str
    since: float
    delivery: str | None = None
    turns: int = 0
    said: str = ""
    tried: tuple[str, ...] = ()

    @classmethod
    def of(cls, stored: Any) -> ActiveSkill:
        """The skill from its members as they are stored."""
        return cls(**{**stored, "tried": tuple(stored.get("tried", ()))})


@dataclass(frozen=True, slots=True)
class Pending:
    """A question to the user which skill was meant, that was asked in the turn `key`.

    `choices` are skills in the order in which they were shown; `said` is what is done with the
    answer (as kept by `consumer.replay`), `at` when it was asked, in seconds since the epoch.
    """

    choices: tuple[str, ...]
    said: str
    key: str
    at: float


@dataclass(frozen=True, slots=True)
class Session:
    """At most one active skill, one that waits for it to end, and one question."""

    active: ActiveSkill | None = None
    waiting: tuple[ActiveSkill, ...] = ()
    pending: Pending | None = None

    def encode(self) -> bytes:
        """The session as it is stored."""
        stored: dict[str, Any] = {}
        if self.active is not None:
            stored = asdict(self.active)
        if self.waiting:
            stored["waiting"] = [asdict(skill) for skill in self.waiting]
        if self.pending is not None:
            stored["pending"] = asdict(self.pending)
        return encode(stored)

    @classmethod
    def parse(cls, body: bytes) -> Session:
        """The session from its own `encode()`."""
        stored = decode(body)
        if not stored:
            return cls()
        waiting = tuple(map(ActiveSkill.of, stored.pop("waiting", ())))
        pending = stored.pop("pending", None)
        stored.pop("declined", None)  # which earlier versions have written
        return cls(
            ActiveSkill.of(stored) if stored else None,
            waiting,
            pending and Pending(**{**pending, "choices": tuple(pending["choices"])}),
        )


IDLE = Session()


def started(session: Session, active: ActiveSkill) -> Session:
    """The skill takes the floor; a question that is open does not matter any more."""
    return replace(session, active=active, pending=None)


def heard(session: Session, *, said: str) -> Session:
    """The active skill gets a message, or something else where nothing was `said`."""
    active = session.active
    if active is None or not said:
        return session
    more = replace(active, turns=active.turns + 1, said=said, tried=())
    return replace(session, active=more, pending=None)


def ended(session: Session, *, handle: str) -> Session:
    """The skill that was given `handle` leaves; if it had the floor, the one that waits has it.

    If it neither had the floor nor waited, nothing changes.
    """
    if session.active is not None and session.active.handle == handle:
        back = session.waiting[-1] if session.waiting else None
        return replace(session, active=back, waiting=session.waiting[:-1])
    if any(skill.handle == handle for skill in session.waiting):
        waiting = tuple(skill for skill in session.waiting if skill.handle != handle)
        return replace(session, waiting=waiting)
    return session


def suspended(session: Session) -> Session | None:
    """The active skill waits until another one ends; None if there are too many already."""
    if session.active is None or len(session.waiting) + 1 >= DEEP:
        return None
    return replace(session, active=None, waiting=(*session.waiting, session.active))


def resumed(session: Session) -> Session | None:
    """The skill that waits has the floor again; None if none waits, or another one has it."""
    if session.active is not None or not session.waiting:
        return None
    return replace(session, active=session.waiting[-1], waiting=session.waiting[:-1])


def asked(session: Session, pending: Pending | None) -> Session:
    """The user is asked which skill was meant; None if that does not matter any more."""
    return replace(session, pending=pending)
