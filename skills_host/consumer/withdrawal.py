"""Ends the conversations of skills that may not be used any more.

The registry orders it in the same unit that bars the skill; one of the hosts takes the order up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from skills_host.consumer.conversations import KIND, SkillConversation
from skills_host.consumer.registry.ledger import ending_epoch
from skills_host.consumer.registry.live import LiveCatalogue
from skills_host.consumer.registry.records import ENDING
from skills_host.consumer.texts import WITHDRAWN
from skills_host.errors import VersionConflict
from skills_host.store.records import Delete, Put, Record, Store
from skills_host.wire import encode

__all__ = ["Withdrawals"]

log = logging.getLogger(__name__)

AT_ONCE = 10
PAGE = 200
TAKEN = 60.0  # seconds after which another host takes an order up again
# A host that has not looked yet may have begun a conversation a moment ago.
AGAIN = 6.0
PASSES = 2


class Withdrawals:
    """Carries out the registry's orders to end conversations; a round of the host."""

    def __init__(self, store: Store, live: LiveCatalogue, *, now: Callable[[], float]) -> None:
        self._store = store
        self._live = live
        self._now = now

    async def look(self) -> None:
        """Take up orders that are due."""
        until = self._now() + TAKEN
        for order in await self._store.claim(ENDING, until=until, limit=AT_ONCE):
            epoch, passes = ending_epoch(order)
            if self._live.now.epoch < epoch:
                await self._live.check()
            ended = await self._ended(order.key)
            log.info("%d conversations with skill %s are to be ended", ended, order.key)
            await self._done(order, epoch, passes + 1)

    async def _done(self, order: Record, epoch: int, passes: int) -> None:
        body = encode({"epoch": epoch, "passes": passes})
        again = Put(ENDING, order.key, body, expects=order.version, due=self._now() + AGAIN)
        last = Delete(ENDING, order.key, expects=order.version)
        try:
            await self._store.write([again if passes < PASSES else last])
        except VersionConflict:
            # It was ordered once more meanwhile.
            return

    async def _ended(self, skill: str) -> int:
        count, after = 0, ""
        while page := await self._store.scan(KIND, after=after, limit=PAGE):
            after = page[-1].key
            for record in page:
                conversation = SkillConversation.parse(record.key, record.body)
                if conversation.skill == skill and self._is_over(conversation):
                    count += await self._order(conversation, record)
        return count

    def _is_over(self, conversation: SkillConversation) -> bool:
        """True unless the skill may be used, under the app id that the conversation was for."""
        if conversation.closed or conversation.ending:
            return False
        skill = self._live.now.skills.get(conversation.skill)
        return skill is None or skill.app_id != conversation.skill_app_id

    async def _order(self, conversation: SkillConversation, record: Record) -> bool:
        body = replace(conversation, ending=WITHDRAWN).encode()
        put = Put(
            KIND,
            record.key,
            body,
            expects=record.version,
            owner=record.owner,
            expires=record.expires,
            due=0.0,
        )
        try:
            await self._store.write([put])
        except VersionConflict:
            # It has ended, or something was said: the next pass sees.
            return False
        return True
