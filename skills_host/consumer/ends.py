"""Ends that somebody is to be told of: each is somebody's work, until all is done that follows.

The record of a closed conversation is the lease. Whoever closes it tells the root's bot, and does
what follows from that; if that process dies meanwhile, another one goes on as a turn goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from skills_host.activity import Activity
from skills_host.addressing import joined_key, received_in
from skills_host.auth.claims import Identity
from skills_host.bot.adapter import Adapter, Outcome
from skills_host.bot.turn import Turn
from skills_host.consumer.conversations import KIND, Conversations, SkillConversation
from skills_host.consumer.delivery import Deliveries
from skills_host.consumer.telling import SkillEnd
from skills_host.errors import VersionConflict
from skills_host.store.leases import Leases
from skills_host.store.records import Change, Check, Record, Store

__all__ = ["Ends"]

log = logging.getLogger(__name__)

ATTEMPTS = 5  # to tell of an end whose processes died; then it is the telling that kills them


class Ends:
    """The ends of the conversations of one root, but those that its turns come upon."""

    def __init__(
        self,
        adapter: Adapter,
        *,
        store: Store,
        leases: Leases,
        conversations: Conversations,
        deliveries: Deliveries,
    ) -> None:
        self._adapter = adapter
        self._store = store
        self._leases = leases
        self._conversations = conversations
        self._deliveries = deliveries

    async def sent(
        self,
        conversation: SkillConversation,
        activity: Activity,
        identity: Identity,
        *,
        also: Sequence[Change] = (),
    ) -> bool:
        """End a conversation because its skill says so, and tell of it; False if it was closed.

        `also` is written when it is closed.
        """
        end = SkillEnd(activity, identity)
        return await self._ended(conversation, end=end, also=also)

    async def made(self, conversation: SkillConversation, code: str) -> bool:
        """End a conversation for the host's own reason, and tell of it; False if it was closed."""
        return await self._ended(conversation, ending=code)

    async def _ended(
        self,
        conversation: SkillConversation,
        *,
        ending: str = "",
        end: SkillEnd | None = None,
        also: Sequence[Change] = (),
    ) -> bool:
        ended = await self._conversations.end(
            conversation.place.session,
            conversation.handle,
            also=also,
            ending=ending,
            end=end,
            by=_turn_key(conversation),
            due=self._leases.until(),
        )
        if ended is None:
            return False
        if ending:
            self._deliveries.calls.cancel(conversation.handle)
            log.warning("skill %s is ended: %s", conversation.skill, ending)
        await self.tell(ended)
        return True

    async def tell(self, conversation: SkillConversation, *, again: bool = False) -> None:
        """Tell of an end whose record this process has claimed, or has just written.

        `again` if another one may have begun. Whoever stops us leaves it to others.
        """
        if again:
            begun = await self._conversations.begun_again(conversation, due=self._leases.until())
            if begun is None:
                return
            conversation = begun
        record = Record(KIND, conversation.handle, conversation.version, b"")
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        self._leases.hold(record, lost=task.cancel)
        try:
            outcome = await self._told(conversation, again=again)
            await self._write(conversation, outcome)
        except asyncio.CancelledError:
            self._leases.leave(record)
            raise
        finally:
            self._leases.drop(record)

    async def _told(self, conversation: SkillConversation, *, again: bool) -> Outcome:
        end, place = conversation.telling.end, conversation.place
        ended = self._deliveries.ended_by_host if end is None else self._deliveries.ended

        async def run(turn: Turn) -> None:
            await ended(turn, conversation)
            await self._deliveries.catch_up(turn)

        return await self._adapter.follow_up(
            place,
            run,
            key=_turn_key(conversation),
            fence=Check(KIND, conversation.handle, conversation.version),
            speaker=conversation.skill,
            activity=None if end is None else received_in(end.activity, place.reference),
            identity=None if end is None else end.identity,
            again=again,
            given_up=conversation.telling.deaths >= ATTEMPTS,
        )

    async def _write(self, conversation: SkillConversation, outcome: Outcome) -> None:
        """All are told, and what the turn changed, in one commit."""
        told = self._conversations.told(
            conversation, expects=conversation.version, asks=outcome.has_failed
        )
        try:
            await self._store.write([told, *outcome.changes])
        except VersionConflict as exc:
            if (exc.kind, exc.key) == (KIND, conversation.handle):
                return
            log.error("state of an end was changed meanwhile: %s", exc.code)
            await self._store.write([told])


def _turn_key(conversation: SkillConversation) -> str:
    """The key of the turn that tells: an end comes once in a conversation."""
    return joined_key("end", conversation.handle)
