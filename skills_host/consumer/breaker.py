"""Leaves a skill alone that fails all the time: its users are told at once instead of late.

Closed: it is called. Open: it is not, for a while. Half-open: one call is let through, and tells.
All processes of a root share what is known of a skill.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from skills_host.addressing import joined_key
from skills_host.errors import BadInput, SkillFailed
from skills_host.store.coordination import Coordination
from skills_host.wire import decode, encode

__all__ = ["CLOSED", "Breaker", "Breakers", "is_failure"]

REMEMBERED = 3600.0  # seconds that failures are known when nothing more is heard of a skill


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is known of one skill: failures in a row, and until when it is left alone.

    `probing` while a call is out that was let through after that time, until it would be over.
    """

    failures: int = 0
    until: float = 0.0
    probing: bool = False

    def is_open(self, now: float) -> bool:
        """True if the skill is not to be called."""
        return now < self.until

    def called(self, now: float, *, seconds: float) -> Breaker:
        """After a call that was let through began; it is over in so many seconds."""
        return Breaker(self.failures, now + seconds, probing=True) if self.until else self

    def failed(self, now: float, *, most: int, seconds: float) -> Breaker:
        """After a call that failed; `most` in a row open it for so many seconds."""
        failures = self.failures + 1
        is_over = self.probing or failures >= most
        return Breaker(failures, now + seconds if is_over else self.until)

    def given_up(self, now: float) -> Breaker:
        """After a call ended without telling anything: the next one may try."""
        return Breaker(self.failures, now) if self.probing else self

    def encode(self) -> bytes:
        """The breaker as it is shared; a closed one is nothing."""
        if self == CLOSED:
            return b""
        return encode([self.failures, self.until, self.probing])

    @classmethod
    def parse(cls, raw: bytes) -> Breaker:
        """The breaker from its own `encode()`; closed, if it is anything else."""
        try:
            failures, until, probing = decode(raw) if raw else (0, 0.0, False)
            return cls(int(failures), float(until), bool(probing))
        except (BadInput, TypeError, ValueError):
            return CLOSED


CLOSED = Breaker()


def is_failure(error: SkillFailed) -> bool:
    """True for what says that the skill, not the call, is in trouble. Pure."""
    return error.code in ("unreachable", "deadline") or error.answered in (502, 503, 504)


class Breakers:
    """The breakers of one root's skills, in all processes that `coordination` reaches.

    What is known here costs nothing to ask for; it is looked up when somebody has changed it.
    """

    def __init__(
        self,
        root: str,
        *,
        coordination: Coordination,
        now: Callable[[], float],
        most: int,
        seconds: float,
    ) -> None:
        self._root = root
        self._coordination = coordination
        self._now = now
        self._most = most
        self._seconds = seconds
        self._of: dict[str, Breaker] = {}
        self._stale: set[str] = set()
        self._heard: set[str] = set()

    async def begin(self, skill: str, *, seconds: float = 60.0) -> None:
        """Raise `SkillFailed` (`skill-left-alone`) unless the skill may be called now.

        The call is over in so many `seconds`.
        """
        if skill not in self._heard:
            self._heard.add(skill)
            self._stale.add(skill)
            self._coordination.listen(self._key(skill), partial(self._stale.add, skill))
        if skill in self._stale:
            self._stale.discard(skill)
            await self._shared(skill, lambda found: found)
        if self._known(skill).until and not await self._is_let_through(skill, seconds):
            raise SkillFailed(code="skill-left-alone")

    def states(self) -> dict[str, int]:
        """Of each skill that was looked at: 0 closed, 1 half-open, 2 open."""
        now = self._now()
        return {
            name: 2 if breaker.is_open(now) and not breaker.probing else int(breaker.until > 0)
            for name, breaker in self._of.items()
        }

    async def succeeded(self, skill: str) -> None:
        """The skill has answered."""
        if self._known(skill) != CLOSED:
            await self._change(skill, lambda _: CLOSED)

    async def failed(self, skill: str) -> None:
        """A call has failed through the skill's fault."""
        now, most, seconds = self._now(), self._most, self._seconds
        await self._change(skill, lambda found: found.failed(now, most=most, seconds=seconds))

    async def given_up(self, skill: str) -> None:
        """A call ended without telling anything: it was cancelled, or the fault was another's."""
        if self._known(skill).probing:
            now = self._now()
            await self._change(skill, lambda found: found.given_up(now))

    async def _is_let_through(self, skill: str, seconds: float) -> bool:
        """True for the one call, of all processes, that tries a skill whose time is over."""
        now = self._now()
        if self._known(skill).is_open(now):
            return False
        mine = False

        def called(found: Breaker) -> Breaker:
            nonlocal mine
            mine = not found.is_open(now)
            return found.called(now, seconds=seconds) if mine else found

        await self._change(skill, called)
        return mine

    async def _change(self, skill: str, step: Callable[[Breaker], Breaker]) -> None:
        """Change what all know, and tell them."""
        await self._shared(skill, step)
        self._coordination.wake(self._key(skill))

    async def _shared(self, skill: str, step: Callable[[Breaker], Breaker]) -> None:
        value = await self._coordination.change(
            self._key(skill), lambda raw: step(Breaker.parse(raw)).encode(), seconds=REMEMBERED
        )
        self._of[skill] = Breaker.parse(value)

    def _known(self, skill: str) -> Breaker:
        return self._of.get(skill, CLOSED)

    def _key(self, skill: str) -> str:
        return joined_key("breaker", self._root, skill)
