"""How many turns a bot takes of one conversation or one caller; beyond, they are asked to wait."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from skills_host.activity import Activity
from skills_host.addressing import joined_key
from skills_host.auth.claims import Identity
from skills_host.errors import TooBusy
from skills_host.settings import Rate
from skills_host.store.coordination import Coordination

__all__ = ["RateLimit", "bucket_of"]


class RateLimit:
    """The limit of one bot, shared by all processes that `coordination` reaches."""

    def __init__(
        self, rate: Rate, *, bot: str, coordination: Coordination, now: Callable[[], float]
    ) -> None:
        self._rate = rate
        self._bot = bot
        self._coordination = coordination
        self._now = now

    async def check(self, activity: Activity, identity: Identity) -> None:
        """Count a turn. Raises `TooBusy` (`rate-limited`), with the seconds to wait, beyond."""
        wait = await self._coordination.take(
            bucket_of(self._rate, self._bot, activity, identity),
            burst=self._rate.turns,
            seconds=self._rate.seconds,
            now=self._now(),
        )
        if wait > 0:
            raise TooBusy(code="rate-limited", retry_after=ceil(wait))


def bucket_of(rate: Rate, bot: str, activity: Activity, identity: Identity) -> str:
    """What a turn is counted for: where it is said, or who says it. Pure.

    A calling bot is one caller, whoever its users are; who they are is its word alone.
    """
    if rate.per == "caller" and identity.kind == "skill":
        return joined_key("rate", bot, "bot", identity.app_id)
    channel = identity.app_id if identity.kind == "skill" else activity.channel_id or ""
    account = activity.from_ if rate.per == "caller" else activity.conversation
    return joined_key("rate", bot, rate.per, channel, account.id or "")
