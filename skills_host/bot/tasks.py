"""The tasks that a host owns: what goes on when the client of a request hangs up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from skills_host.errors import SkillsHostError

__all__ = ["Tasks", "ended"]

log = logging.getLogger(__name__)

_ResultT = TypeVar("_ResultT")


async def ended(task: asyncio.Task[Any]) -> None:
    """Wait until a task has ended, however that was.

    Unlike awaiting it, this leaves it running when the one who waits is cancelled. It is half the
    work of `asyncio.wait`, which waits for many.
    """
    waiter = asyncio.get_running_loop().create_future()

    def wake(_: asyncio.Task[Any]) -> None:
        if not waiter.done():
            waiter.set_result(None)

    task.add_done_callback(wake)
    try:
        await waiter
    finally:
        task.remove_done_callback(wake)


class Tasks:
    """The tasks that the host owns: what must go on when a request's client hangs up."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self._stopped = False

    @property
    def is_stopping(self) -> bool:
        """True once nothing new is begun."""
        return self._stopping

    def start(self, work: Coroutine[Any, Any, _ResultT]) -> asyncio.Task[_ResultT]:
        """Run new `work` in a task; refused with `stopping` once the host stops."""
        return self._task(work, refused=self._stopping)

    def follow(self, work: Coroutine[Any, Any, _ResultT]) -> asyncio.Task[_ResultT]:
        """Run `work` that work already begun may wait for; refused only when that is over too."""
        return self._task(work, refused=self._stopped)

    async def finish(self, work: Coroutine[Any, Any, _ResultT]) -> _ResultT:
        """`follow` and wait for the result; a cancelled caller stops only the waiting."""
        return await self.result(self.follow(work))

    async def result(self, task: asyncio.Task[_ResultT]) -> _ResultT:
        """Wait for a task; refused with `stopping` if it was not let finish."""
        await ended(task)
        if task.cancelled():
            raise SkillsHostError(code="stopping")
        return task.result()

    async def stop(self, seconds: float) -> None:
        """Take nothing new, let what runs finish for so long, then cancel it."""
        self._stopping = True
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._running:
                    await asyncio.wait(self._running)
        self._stopped = True
        for task in tuple(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=1)

    def _task(
        self, work: Coroutine[Any, Any, _ResultT], *, refused: bool
    ) -> asyncio.Task[_ResultT]:
        if refused:
            work.close()
            raise SkillsHostError(code="stopping")
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            # Whoever waited has been told; if nobody did, this is the only trace.
            log.debug("a task ended with %s", type(failure).__name__)
