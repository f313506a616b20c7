"""Ends what would not end by itself: skills that stay silent, last too long, or are to be ended.

A conversation is due in the store when its time is over; an operator makes it due at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from skills_host.addressing import joined_key
from skills_host.bot.adapter import Adapter
from skills_host.bot.tasks import Tasks
from skills_host.consumer.conversations import KIND, Conversations, Patience, SkillConversation
from skills_host.consumer.delivery import Deliveries
from skills_host.consumer.ends import Ends
from skills_host.consumer.registry.compile import Skill
from skills_host.errors import SkillsHostError
from skills_host.store.leases import Leases
from skills_host.store.records import Record, Store

__all__ = ["ORDERED", "End", "Ender", "Watch"]

log = logging.getLogger(__name__)

AT_ONCE = 50
ORDERED = "endedByOperator"
SILENT = "botTimedOut"
STRANGE = 60.0  # seconds for which a conversation of a root that is not here is left to others

End = Callable[[SkillConversation, Record], Coroutine[Any, Any, None]]
"""Looks at a conversation that is due, and ends it if its time is over."""


class Watch:
    """Looks after the conversations of all roots of a host; `enders` by the roots' app ids."""

    def __init__(
        self, store: Store, *, leases: Leases, tasks: Tasks, now: Callable[[], float]
    ) -> None:
        self.enders: dict[str, End] = {}
        self._store = store
        self._leases = leases
        self._tasks = tasks
        self._now = now

    async def look(self) -> None:
        """End what is due."""
        if not self.enders:
            return
        until = self._leases.until()
        for record in await self._store.claim(KIND, until=until, limit=AT_ONCE):
            # Our own, if it could not be renewed in time: only the newest run may go on.
            self._leases.lose(record)
            conversation = SkillConversation.parse(record.key, record.body)
            end = self.enders.get(conversation.host_app_id)
            if end is None:
                await self._store.renew([record], until=self._now() + STRANGE)
                continue
            try:
                self._tasks.start(end(conversation, record))
            except SkillsHostError:
                # The host stops: others can have it when it has.
                self._leases.leave(record)


class Ender:
    """Ends conversations of one root: nobody waits for what they do, and all are told."""

    def __init__(
        self,
        adapter: Adapter,
        *,
        store: Store,
        conversations: Conversations,
        deliveries: Deliveries,
        ends: Ends,
        skills: Callable[[], Mapping[str, Skill]],
        patience: Patience,
        now: Callable[[], float],
    ) -> None:
        self._adapter = adapter
        self._store = store
        self._conversations = conversations
        self._deliveries = deliveries
        self._ends = ends
        self._skills = skills
        self._patience = patience
        self._now = now

    async def look_at(self, conversation: SkillConversation, record: Record) -> None:
        """End a conversation that is due, unless its skill has spoken meanwhile; or go on with an
        end that a process which died has left half told."""
        if conversation.closed:
            if conversation.ending or conversation.telling.end is not None:
                await self._ends.tell(replace(conversation, version=record.version), again=True)
            else:
                await self._asks(conversation)
            return
        if not conversation.ending and (later := await self._later(conversation)):
            await self._store.renew([record], until=later)
            return
        await self._ends.made(conversation, conversation.ending or SILENT)

    async def _asks(self, conversation: SkillConversation) -> None:
        """Let the skill that waited for an end ask: who was to do so has died, maybe at it."""
        # Noted first, so that it is asked once more, and not again and again.
        await self._conversations.note_told(conversation)
        await self._adapter.continue_conversation(
            conversation.place,
            partial(self._deliveries.back, conversation=conversation),
            speaker=conversation.skill,
            key=joined_key("asks", conversation.handle),
            guarded=True,
        )

    async def _later(self, conversation: SkillConversation) -> float | None:
        """When to look again; None if the time is over."""
        skill = self._skills().get(conversation.skill)
        if skill is None:
            return None
        heard = await self._conversations.spoken.last(conversation.handle)
        ends = self._patience.of(skill).ends(since=conversation.since, heard=heard)
        return ends if ends > self._now() else None
