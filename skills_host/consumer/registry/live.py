"""The registry as a running host goes by it: looked at again and again, taken up at once.

A turn never reads the registry: it goes by the catalogue of this process, which is replaced whole.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from skills_host.consumer.registry.catalogue import (
    Catalogue,
    Compiled,
    catalogue_of,
    compiled,
    wanted_revision,
)
from skills_host.consumer.registry.ledger import Ledger
from skills_host.consumer.registry.lock import Locked
from skills_host.consumer.registry.records import SkillRecord
from skills_host.errors import SkillsHostError
from skills_host.settings import Settings

__all__ = ["LiveCatalogue"]

log = logging.getLogger(__name__)

PAGE = 200
MOST = 2000
"""After so many changes, everything is read anew."""

Taken = Callable[[Catalogue], object]
"""Called with each new catalogue; it must be quick."""


class LiveCatalogue:
    """The catalogue of a host, kept up with the registry: one point read each time it looks."""

    def __init__(
        self, ledger: Ledger, settings: Settings, *, locked: Mapping[str, Locked] | None = None
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._locked = locked
        self._found: dict[str, Compiled] = {}
        self._woken = asyncio.Event()
        self._checking = asyncio.Lock()
        self._taken: list[Taken] = []
        self._is_away = False
        self._now = catalogue_of(settings, {}, epoch=0)

    @property
    def now(self) -> Catalogue:
        """What the host goes by at this moment."""
        return self._now

    def listen(self, taken: Taken) -> None:
        """Have every new catalogue told."""
        self._taken.append(taken)

    def wake(self) -> None:
        """Look at once: something has changed."""
        self._woken.set()

    async def load(self) -> None:
        """Read everything; done once, before the host serves. Raises `StoreFailed`."""
        async with self._checking:
            await self._load((await self._ledger.head()).epoch)

    async def check(self) -> None:
        """Take up what has changed since the last look. Raises `StoreFailed`."""
        async with self._checking:
            epoch = (await self._ledger.head()).epoch
            if epoch == self._now.epoch:
                return
            if not 0 < epoch - self._now.epoch <= MOST:
                await self._load(epoch)
                return
            entries = await self._ledger.entries(after=self._now.epoch, limit=MOST)
            names = {entry.skill for entry in entries if entry.skill}
            found = dict(self._found)
            for name in names:
                found.pop(name, None)
            records = await self._ledger.some(sorted(names))
            found.update(await self._compiled(records.values()))
            # What came after the head was read may be among it; it is only looked at once more.
            await self._take(found, epoch)

    async def run(self) -> None:
        """Look whenever something is told, and every `registry.check_seconds`, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._settings.registry.check_seconds):
                    await self._woken.wait()
            except TimeoutError:
                pass
            self._woken.clear()
            try:
                await self.check()
                self._is_away = False
            except SkillsHostError as exc:
                if not self._is_away:
                    log.error("the registry could not be looked at: %s", exc.code)
                self._is_away = True
            except Exception:
                # Whatever it was, the next look may go well, and nobody else would look.
                log.exception("the registry could not be looked at")

    async def _load(self, epoch: int) -> None:
        found: dict[str, Compiled] = {}
        after = ""
        while page := await self._ledger.skills(after=after, limit=PAGE):
            found.update(await self._compiled(page))
            after = page[-1].name
        await self._take(found, epoch)

    async def _compiled(self, records: Iterable[SkillRecord]) -> Mapping[str, Compiled]:
        wanted = {record.name: (record, wanted_revision(record)) for record in records}
        named = [(name, digest) for name, (_, digest) in wanted.items() if digest]
        revisions = await self._ledger.revisions(named)
        given = [
            (wanted[revision.skill][0], revision, await self._ledger.languages(revision))
            for revision in revisions
        ]
        # In a thread: turns go on meanwhile.
        made = await asyncio.to_thread(lambda: [compiled(*one) for one in given])
        return {one.skill.name: one for one in made if one is not None}

    async def _take(self, found: dict[str, Compiled], epoch: int) -> None:
        locked = self._locked
        made = await asyncio.to_thread(
            catalogue_of, self._settings, found, epoch=epoch, locked=locked
        )
        self._found, self._now = found, made
        log.info("registry at epoch %d: %d skills", epoch, len(made.skills))
        for taken in self._taken:
            taken(made)
