"""Leaves a skill alone that fails all the time: its users are told at once instead of late.

Closed: it is called. Open: it is not, for a while. Half-open: one call is let through, and tells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from skills_host.errors import SkillFailed

__all__ = ["CLOSED", "Breaker", "Breakers", "is_failure"]


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is known of one skill: failures in a row, and until when it is left alone.

    `probing` while a call is out that was let through after that time.
    """

    failures: int = 0
    until: float = 0.0
    probing: bool = False

    def is_open(self, now: float) -> bool:
        """True if the skill is not to be called."""
        return now < self.until or self.probing

    def called(self, now: float) -> Breaker:
        """After a call that was let through began."""
        return replace(self, probing=True) if self.until and now >= self.until else self

    def failed(self, now: float, *, most: int, seconds: float) -> Breaker:
        """After a call that failed; `most` in a row open it for so many seconds."""
        failures = self.failures + 1
        is_over = self.probing or failures >= most
        return Breaker(failures, now + seconds if is_over else self.until)


CLOSED = Breaker()


def is_failure(error: SkillFailed) -> bool:
    """True for what says that the skill, not the call, is in trouble. Pure."""
    return error.code in ("unreachable", "deadline") or error.answered in (502, 503, 504)


class Breakers:
    """The breakers of one root's skills in one process."""

    def __init__(self, *, now: Callable[[], float], most: int, seconds: float) -> None:
        self._now = now
        self._most = most
        self._seconds = seconds
        self._of: dict[str, Breaker] = {}
        self._known: dict[str, Breaker] = {}

    def begin(self, skill: str) -> None:
        """Raise `SkillFailed` (`skill-left-alone`) unless the skill may be called now."""
        breaker = self._of.get(skill, CLOSED)
        if breaker.is_open(self._now()):
            raise SkillFailed(code="skill-left-alone")
        if breaker is not CLOSED:
            self._of[skill] = breaker.called(self._now())

    def states(self) -> dict[str, int]:
        """Of each skill that has failed: 0 closed, 1 half-open, 2 open."""
        now = self._now()
        self._known.update(self._of)
        return {
            name: 2 if now < breaker.until else int(breaker.until > 0)
            for name, breaker in ((name, self._of.get(name, CLOSED)) for name in self._known)
        }

    def succeeded(self, skill: str) -> None:
        """The skill has answered."""
        self._of.pop(skill, None)

    def failed(self, skill: str) -> None:
        """A call has failed through the skill's fault."""
        breaker = self._of.get(skill, CLOSED)
        self._of[skill] = breaker.failed(self._now(), most=self._most, seconds=self._seconds)

    def given_up(self, skill: str) -> None:
        """A call ended without telling anything: it was cancelled, or the fault was another's."""
        breaker = self._of.get(skill)
        if breaker is not None:
            self._of[skill] = replace(breaker, probing=False)
