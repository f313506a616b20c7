"""The thread that writes: all that has queued in one commit, and nobody answered before it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from skills_host.errors import StoreFailed, VersionConflict
from skills_host.store.batches import settle
from skills_host.store.database import failed

__all__ = ["Work", "Writer"]

log = logging.getLogger(__name__)

Work = Callable[[sqlite3.Connection], tuple[int, ...]]
"""One unit. It runs inside the writer's transaction and may raise `VersionConflict` only before
it has changed anything; any other error undoes the whole batch."""

Future = asyncio.Future[tuple[int, ...]]
Outcome = tuple[int, ...] | VersionConflict | StoreFailed


@dataclass(frozen=True, slots=True)
class _Unit:
    work: Work
    future: Future


class Writer:
    """Owns the writing connection and the thread that uses it; `stop` ends both.

    `check` raises what keeps a batch from being committed.
    """

    def __init__(self, connection: sqlite3.Connection, *, check: Callable[[], None]) -> None:
        self._connection = connection
        self._check = check
        self._queue: deque[_Unit] = deque()
        # One for each pass of an event loop that has queued something; False ends the thread.
        self._wakes: queue.SimpleQueue[bool] = queue.SimpleQueue()
        # The loop that is going to wake the thread when its pass is over.
        self._waking: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> Future:
        """Queue one unit; the running loop's future has its numbers after the commit.

        It raises the unit's `VersionConflict`, or `StoreFailed` where the batch was not kept. The
        caller sees to it that nothing is submitted once `stop` was called.
        """
        loop = asyncio.get_running_loop()
        future: Future = loop.create_future()
        self._queue.append(_Unit(work, future))
        if self._waking is not loop:
            # After this pass of the loop: what else is written in it is in the same commit.
            self._waking = loop
            loop.call_soon(self._wake)
        return future

    def stop(self) -> None:
        """Finish what is queued, then end the thread and close the connection."""
        self._wakes.put(False)
        self._thread.join()

    def _wake(self) -> None:
        self._waking = None
        if self._queue:
            self._wakes.put(True)

    def _run(self) -> None:
        while self._wakes.get():
            self._write()
        # Nothing is queued any more, but what was may have had no wake yet.
        self._write()
        self._connection.close()

    def _write(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(len(self._queue))]
            _answer(batch, self._committed(batch))

    def _committed(self, batch: Sequence[_Unit]) -> list[Outcome]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            outcomes = [_outcome(unit.work, self._connection) for unit in batch]
            self._check()
            self._connection.execute("COMMIT")
        except Exception as exc:
            # Whatever it was, the thread lives on and nobody is left waiting.
            failure = failed(exc)
            log.exception("%d writes failed: %s", len(batch), failure)
            with contextlib.suppress(sqlite3.Error):
                self._connection.rollback()
            return [failed(exc) for _ in batch]
        return outcomes


def _outcome(work: Work, connection: sqlite3.Connection) -> Outcome:
    try:
        return work(connection)
    except VersionConflict as exc:
        return exc


def _answer(batch: Sequence[_Unit], outcomes: Sequence[Outcome]) -> None:
    """Wake each loop once, however many of the batch wait in it."""
    waiting: dict[asyncio.AbstractEventLoop, list[tuple[Future, Outcome]]] = defaultdict(list)
    for unit, outcome in zip(batch, outcomes, strict=True):
        waiting[unit.future.get_loop()].append((unit.future, outcome))
    for loop, answers in waiting.items():
        # A loop that was closed meanwhile has no waiters left.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, answers)
