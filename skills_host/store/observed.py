"""A store whose commits are told of in numbers: how many, how long, how they ended."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from skills_host.errors import SkillsHostError
from skills_host.store.records import Change, Record, Store
from skills_host.telemetry import STORE, Telemetry

__all__ = ["ObservedStore"]

_ResultT = TypeVar("_ResultT")


class ObservedStore:
    """A `Store` that is another one; `clock` gives seconds that only grow."""

    def __init__(
        self,
        store: Store,
        telemetry: Telemetry,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._store = store
        self._telemetry = telemetry
        self._clock = clock
        self.open = store.open
        self.close = store.close
        self.probe = store.probe
        # A read fails and waits as commits do, and there are more of them.
        self.read = store.read
        self.scan = store.scan

    async def write(self, changes: Sequence[Change]) -> tuple[int, ...]:
        """Make all changes in one commit."""
        return await self._told("write", self._store.write(changes))

    async def claim(self, kind: str, prefix: str = "", *, until: float, limit: int) -> list[Record]:
        """Take what is due."""
        return await self._told("claim", self._store.claim(kind, prefix, until=until, limit=limit))

    async def renew(self, records: Iterable[Record], *, until: float) -> list[Record]:
        """Keep what was taken."""
        return await self._told("renew", self._store.renew(records, until=until))

    async def expire(self, now: float, limit: int) -> int:
        """Remove what has expired."""
        return await self._told("expire", self._store.expire(now, limit))

    async def _told(self, operation: str, work: Awaitable[_ResultT]) -> _ResultT:
        began, outcome = self._clock(), "cancelled"
        try:
            result = await work
            outcome = "ok"
            return result
        except SkillsHostError as exc:
            outcome = exc.code
            raise
        finally:
            self._telemetry.took(STORE, self._clock() - began, operation, outcome)
