"""The trail of a chain of bots: which bot of ours has passed a user on to which of its skills.

It travels as one member of the `baggage` header (W3C), which bots in the middle that are traced
with OpenTelemetry pass on by themselves. A hop means something only to the host whose key made it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from skills_host.activity import Activity
from skills_host.bot.turn import Turn
from skills_host.consumer.conversations import Conversations
from skills_host.consumer.registry.compile import Skill
from skills_host.errors import SkillFailed
from skills_host.store.seal import HostKey, Keys

__all__ = ["CallLoop", "Trails", "baggage_of", "hops_in"]

MEMBER = "skills-host-hops"
HOP_BYTES = 9
MOST = 64  # hops that are read; no limit is higher
_HOPS = re.compile(rf"(?:^|,)\s*{MEMBER}\s*=\s*([A-Za-z0-9_.-]{{1,{MOST * 13}}})\s*(?:[,;]|$)")


class CallLoop(SkillFailed):
    """Bots call each other in a circle (`call-loop`), or there are `too-many-hops`."""

    code = "call-loop"


def hops_in(baggage: str | None) -> tuple[str, ...]:
    """The hops that a request came by, the first bot's first; none where nothing is said. Pure."""
    found = _HOPS.search(baggage) if baggage else None
    return tuple(found[1].split(".")[:MOST]) if found else ()


def baggage_of(hops: tuple[str, ...]) -> str:
    """The header's value. Pure."""
    return f"{MEMBER}={'.'.join(hops)}"


class Passing:
    """What this process is passing on right now.

    Bots in the middle may drop the trail; then a circle is known by the very same activity, which
    comes in again from one of them while it is still being passed on.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[str | bytes | None, ...], str] = {}

    @contextmanager
    def on(self, activity: Activity, *, skill: str, turn: Turn) -> Iterator[None]:
        """For as long as it lasts, the activity is passed on to a skill, in this turn.

        Raises `CallLoop` if another bot brought it, while it is being passed on to the same skill
        in another session.
        """
        names = ("type", "name", "id", "text", "value", "channelId")
        mark = (skill, activity.from_.id, *map(activity.raw, names))
        other = self._open.get(mark)
        if other is not None:
            if turn.is_from_skill_consumer and activity.id and other != turn.session:
                raise CallLoop
            yield
            return
        self._open[mark] = turn.session
        try:
            yield
        finally:
            del self._open[mark]


@dataclass(frozen=True, slots=True)
class Trails:
    """The trails that one root makes longer; at most `most` bots may pass an activity on."""

    keys: Keys
    host_app_id: str
    most: int
    conversations: Conversations
    _passing: Passing = field(default_factory=Passing)

    @asynccontextmanager
    async def on(self, activity: Activity, *, skill: Skill, turn: Turn) -> AsyncIterator[None]:
        """For as long as it lasts, a turn passes an activity on to a skill, whichever way.

        Raises `CallLoop` where it must not.
        """
        await self.check_turn(turn, skill.app_id)
        with self._passing.on(activity, skill=skill.name, turn=turn):
            yield

    async def check_turn(self, turn: Turn, skill_app_id: str) -> None:
        """`check` with the turn's own trail, and what its caller did not say of it.

        A caller that passes no trail on still says where it was itself called: if that is a
        conversation of this very root, its trail goes on from there.
        """
        if turn.is_from_skill_consumer and not turn.hops:
            ours = await self.conversations.behind(turn.activity)
            if ours is not None:
                turn.hops = self.longer(ours.place.hops, ours.skill_app_id)
        self.check(turn.hops, skill_app_id)

    def check(self, hops: tuple[str, ...], skill_app_id: str) -> None:
        """Raise `CallLoop` if an activity that came by these hops must not go on to a skill."""
        if any(self._hop(key, skill_app_id) in hops for key in self.keys.all):
            raise CallLoop
        if len(hops) >= self.most:
            raise CallLoop(code="too-many-hops")

    def longer(self, hops: tuple[str, ...], skill_app_id: str) -> tuple[str, ...]:
        """The trail as the skill gets it."""
        return (*hops, self._hop(self.keys.current, skill_app_id))

    def _hop(self, key: HostKey, skill_app_id: str) -> str:
        pair = UUID(self.host_app_id).bytes + UUID(skill_app_id).bytes
        return base64.urlsafe_b64encode(key.mac(b"hop", pair, HOP_BYTES)).decode("ascii")
