"""Receipts of refusals, written behind the answer: no refusal waits for the store, or fails by it.

Who is refused often is counted, not recorded. Those who may be anybody (refused before their
signature was checked) have a quota of their own, so that they push nobody else's receipt out.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from skills_host.auth.denials import UNSIGNED, Denied
from skills_host.auth.receipts import KINDS, Receipt, kind_of, receipt_id, receipt_of
from skills_host.errors import SkillsHostError
from skills_host.store.records import Delete, Put, Store

__all__ = ["Receipts"]

log = logging.getLogger(__name__)

CALLERS = 1024  # of whom is remembered what they were refused in the last minute
GATHER = 0.05  # seconds in which what is refused shares a commit
PER_CALLER = 10  # receipts a minute, for each code and caller
PER_MINUTE = 300  # receipts a minute of those who may be anybody, all together
QUEUE = 1024
WINDOW = 60.0


@dataclass(slots=True)
class _Window:
    """What one caller was refused with one code since `since`; `last` is its newest receipt."""

    since: float
    kept: int = 0
    last: Receipt | None = None


class Receipts:
    """The receipts of one host; belongs to one event loop; `open` starts its writer, `close` ends
    it when all is written.

    At most `keep` are kept of each kind, and each for `age` seconds.
    """

    def __init__(
        self,
        store: Store,
        *,
        now: Callable[[], float],
        random: Callable[[int], bytes],
        keep: int,
        age: float,
    ) -> None:
        self._store = store
        self._now = now
        self._random = random
        self._keep = keep
        self._age = age
        self._windows: OrderedDict[tuple[str, str], _Window] = OrderedDict()
        self._unsigned = _Window(float("-inf"))
        self._pending: dict[str, Receipt] = {}
        self._dropped = 0
        self._written = dict.fromkeys(KINDS, keep)
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start writing."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Write what is left."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._flush()

    def note(self, error: Denied, *, door: str, caller: str) -> str | None:
        """Take note of a refusal; the id of the receipt that tells of it, if one does."""
        now = self._now()
        id = receipt_id(now, self._random(4).hex())
        receipt = receipt_of(error, id=id, at=now, door=door, caller=caller)
        window = self._window(receipt)
        if window.kept >= PER_CALLER and window.last is not None:
            repeated = window.last = replace(window.last, repeated=window.last.repeated + 1)
            self._queue(repeated)
            return repeated.id
        if len(self._pending) >= QUEUE or self._is_over(receipt):
            self._dropped += 1
            return None
        window.kept, window.last = window.kept + 1, receipt
        self._queue(receipt)
        return receipt.id

    def _window(self, receipt: Receipt) -> _Window:
        key = (receipt.code, receipt.caller)
        window = self._windows.get(key)
        if window is None or receipt.at >= window.since + WINDOW:
            window = self._windows[key] = _Window(receipt.at)
        self._windows.move_to_end(key)
        if len(self._windows) > CALLERS:
            self._windows.popitem(last=False)
        return window

    def _queue(self, receipt: Receipt) -> None:
        self._pending[receipt.id] = receipt
        self._wake.set()

    def _is_over(self, receipt: Receipt) -> bool:
        """True if those who may be anybody have had their receipts of this minute."""
        if receipt.code not in UNSIGNED:
            return False
        if receipt.at >= self._unsigned.since + WINDOW:
            self._unsigned = _Window(receipt.at)
        self._unsigned.kept += 1
        return self._unsigned.kept > PER_MINUTE

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER)
            # A commit that was begun is finished, also when the host closes meanwhile.
            await asyncio.shield(self._flush())

    async def _flush(self) -> None:
        async with self._writing:
            await self._write()

    async def _write(self) -> None:
        self._wake.clear()
        pending, self._pending = self._pending, {}
        dropped, self._dropped = self._dropped, 0
        if dropped:
            log.warning("%d refusals have no receipt: there were too many", dropped)
        if not pending:
            return
        try:
            await self._store.write([self._put(receipt) for receipt in pending.values()])
            for receipt in pending.values():
                self._written[kind_of(receipt.code)] += 1
            await self._trim()
        except Exception as exc:
            # Whatever it was, those to come are written: nothing else would say so.
            reason = exc.code if isinstance(exc, SkillsHostError) else type(exc).__name__
            log.warning("%d receipts of refusals were not written: %s", len(pending), reason)

    def _put(self, receipt: Receipt) -> Put:
        kind = kind_of(receipt.code)
        return Put(kind, receipt.id, receipt.encode(), expires=receipt.at + self._age)

    async def _trim(self) -> None:
        """Remove the oldest beyond `keep`, whenever a tenth of them may be new."""
        for kind, written in self._written.items():
            if written <= self._keep // 10:
                continue
            self._written[kind] = 0
            kept = await self._store.scan(kind, limit=2 * self._keep + QUEUE)
            oldest = kept[: max(0, len(kept) - self._keep)]
            if oldest:
                await self._store.write([Delete(kind, record.key) for record in oldest])
