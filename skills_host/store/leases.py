"""What this process has in work: kept while it runs, given back when the process stops.

Whoever dies gives nothing back: what it had is due when the lease is over, and others claim it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from skills_host.errors import SkillsHostError
from skills_host.store.records import Key, Record, Store
from skills_host.telemetry import LEASES_LOST, Telemetry

__all__ = ["Leases"]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    record: Record
    lost: Callable[[], object]


class Leases:
    """The leases of one process on records of `store`, each for `seconds` at a time.

    Belongs to one event loop. What is held longer than a third of its time is renewed, all of it
    in one commit. `close` gives back what is left.
    """

    def __init__(
        self,
        store: Store,
        *,
        now: Callable[[], float],
        seconds: float,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._telemetry = telemetry or Telemetry()
        self._store = store
        self._now = now
        self.seconds = seconds
        self._held: dict[Key, _Held] = {}
        self._left: list[Record] = []
        self._task: asyncio.Task[None] | None = None

    def until(self) -> float:
        """When a lease that begins now is over, in seconds since the epoch."""
        return self._now() + self.seconds

    def open(self) -> None:
        """Begin to renew."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Give back what is still held, so that others can take it up at once."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        left = [*self._left, *(held.record for held in self._held.values())]
        self._held.clear()
        with suppress(SkillsHostError):
            await self._store.renew(left, until=0.0)

    def hold(self, record: Record, *, lost: Callable[[], object]) -> None:
        """Keep a claimed record from now on; `lost` is called if it turns out to be another's."""
        self._held[record.kind, record.key] = _Held(record, lost)

    def drop(self, record: Record) -> None:
        """Renew the record no more: its work is done."""
        held = self._held.get((record.kind, record.key))
        if held is not None and held.record.version == record.version:
            del self._held[record.kind, record.key]

    def leave(self, record: Record) -> None:
        """Renew the record no more; it is given back when the process stops."""
        self.drop(record)
        self._left.append(record)

    def lose(self, record: Record) -> None:
        """End what is done here under an older lease of the record."""
        held = self._held.pop((record.kind, record.key), None)
        if held is not None:
            self._telemetry.count(LEASES_LOST, record.kind)
            held.lost()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self.seconds / 3)
            try:
                await self._renew()
            except SkillsHostError as exc:
                # What is done without a lease is fenced: nothing is doubled, it is only done again.
                log.error("leases could not be renewed: %s", exc.code)

    async def _renew(self) -> None:
        until = self.until()
        aging = [
            held.record
            for held in self._held.values()
            if held.record.due is None or until - held.record.due >= self.seconds / 3
        ]
        kept = {(record.kind, record.key) for record in await self._store.renew(aging, until=until)}
        for record in aging:
            held = self._held.get((record.kind, record.key))
            # Meanwhile its work may have ended, which is no loss.
            if held is None or held.record is not record:
                continue
            if (record.kind, record.key) in kept:
                held.record = replace(record, due=until)
            else:
                log.warning("the lease of a %s record was lost", record.kind)
                self._telemetry.count(LEASES_LOST, record.kind)
                self.drop(record)
                held.lost()
