"""A queue that one process at a time empties, while all may put something behind what waits.

Whoever has it is named by the record's owner: putting something in changes the version, not that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from skills_host.errors import SkillsHostError, VersionConflict
from skills_host.store.records import Change, Delete, Put, Record, Store

__all__ = ["Custody"]

log = logging.getLogger(__name__)

ATTEMPTS = 20

Rewrite = Callable[[bytes], bytes]
"""From what a queue holds to what it is to hold; empty if nothing is left. Pure."""


class Custody:
    """The custody of a claimed queue `record`, by the name `token`, for `seconds` at a time.

    Belongs to one task. Nothing of it changes a queue that another process has taken meanwhile.
    """

    def __init__(
        self, store: Store, record: Record, *, token: str, now: Callable[[], float], seconds: float
    ) -> None:
        self.record = record
        self._writes = 0
        self._has_written = False
        self._store = store
        self._token = token
        self._now = now
        self._seconds = seconds
        self._writing = asyncio.Lock()

    async def taken(self) -> bool:
        """Put our name on what was just claimed; False if it is not ours any more."""
        # Whoever had it before and is alive finds our name, or has kept it before we could.
        return await self.rewritten(lambda body: body)

    async def rewritten(
        self, rewrite: Rewrite, *, also: Sequence[Change] = (), due: float | None = None
    ) -> bool:
        """Change what is in the queue, and keep it; False if it is another's or gone.

        With `due` it is given back, and may be claimed again from then on. `also` is written with
        it.
        """
        async with self._writing:
            for _ in range(ATTEMPTS):
                try:
                    await self._write(rewrite(self.record.body), also, due)
                    return True
                except VersionConflict:
                    if not await self._is_ours():
                        return False
        return False

    async def keep(self) -> None:
        """Keep it until this is cancelled; returns if it is lost."""
        while True:
            await asyncio.sleep(self._seconds / 3)
            with suppress(SkillsHostError):
                if not await self.rewritten(lambda body: body):
                    return

    async def _write(self, body: bytes, also: Sequence[Change], due: float | None) -> None:
        old = self.record
        until = self._now() + self._seconds if due is None else due
        # New with each write, so that nobody takes what another has kept meanwhile.
        self._writes += 1
        owner = f"{self._token}/{self._writes}" if due is None else ""
        change: Change = Delete(old.kind, old.key, expects=old.version)
        if body:
            change = Put(old.kind, old.key, body, expects=old.version, owner=owner, due=until)
        version, *_ = await self._store.write([change, *also])
        self._has_written = True
        self.record = Record(old.kind, old.key, version, body, owner, due=until)

    async def _is_ours(self) -> bool:
        """Read again what others have changed; False if it is theirs now."""
        key = (self.record.kind, self.record.key)
        found = (await self._store.read([key])).get(key)
        if found is None:
            return False
        # What was only claimed may have been claimed by another since.
        is_same = self._has_written or found.due == self.record.due
        if found.owner != self.record.owner or not is_same:
            log.warning("a queue of the outbox is emptied by another process")
            return False
        self.record = found
        return True
