"""The session: which skill has the floor in a user's conversation. Pure transitions.

A session is a record of its own and changes by these functions only. Each names the handle it is
about, so that something late (an end, a failure) that concerns an earlier skill changes nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from skills_host.wire import decode, encode

__all__ = ["IDLE", "KIND", "ActiveSkill", "Session", "ended", "started"]

KIND = "session"


@dataclass(frozen=True, slots=True)
class ActiveSkill:
    """The skill that gets what the user says; `since` in seconds since the epoch.

    `delivery` is how its answers come back if that was chosen for this conversation.
    """

    skill: str
    handle: str
    since: float
    delivery: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """At most one active skill."""

    active: ActiveSkill | None = None

    def encode(self) -> bytes:
        """The session as it is stored."""
        active = self.active
        if active is None:
            return b"{}"
        return encode(asdict(active))

    @classmethod
    def parse(cls, body: bytes) -> Session:
        """The session from its own `encode()`."""
        stored = decode(body)
        return cls(ActiveSkill(**stored)) if stored else cls()


IDLE = Session()


def started(
    session: Session, *, skill: str, handle: str, now: float, delivery: str | None = None
) -> Session:
    """The skill takes the floor."""
    return replace(session, active=ActiveSkill(skill, handle, now, delivery))


def ended(session: Session, *, handle: str) -> Session:
    """The skill that was given `handle` leaves the floor; if another has it, nothing changes."""
    if session.active is None or session.active.handle != handle:
        return session
    return replace(session, active=None)
