"""What several ask at once, asked together: one call of a service instead of one for each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, TypeVar

__all__ = ["Batches", "settle"]

_AskedT = TypeVar("_AskedT")
_GivenT = TypeVar("_GivenT")

Work = Callable[[Sequence[_AskedT]], Awaitable[Sequence[_GivenT | Exception]]]


class Batches(Generic[_AskedT, _GivenT]):
    """Does `work` for all that was asked for in one pass of the event loop, at most `most` at once.

    What is asked for while the work of an earlier batch is under way is the next batch, in the
    order in which it was asked for. `work` gives an answer for each, or what to raise; what it
    raises itself is raised by all of the batch. Belongs to one event loop.
    """

    def __init__(self, work: Work[_AskedT, _GivenT], *, most: int) -> None:
        self._work = work
        self._most = most
        self._queue: deque[tuple[_AskedT, asyncio.Future[_GivenT]]] = deque()
        self._running: asyncio.Task[None] | None = None

    def ask(self, asked: _AskedT) -> asyncio.Future[_GivenT]:
        """The answer to come. Whoever stops waiting for it stops nothing: the work is done."""
        future: asyncio.Future[_GivenT] = asyncio.get_running_loop().create_future()
        self._queue.append((asked, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return future

    async def finish(self) -> None:
        """Wait until all that was asked for is answered."""
        while self._running is not None:
            await asyncio.wait({self._running})

    async def _run(self) -> None:
        try:
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(self._most, len(self._queue)))]
                outcomes = await self._outcomes([asked for asked, _ in batch])
                settle(zip((future for _, future in batch), outcomes, strict=True))
        finally:
            self._running = None

    async def _outcomes(self, asked: Sequence[_AskedT]) -> Sequence[_GivenT | Exception]:
        try:
            return await self._work(asked)
        except Exception as exc:
            # Whatever it was, nobody is left waiting.
            return [exc] * len(asked)


def settle(
    answers: Iterable[tuple[asyncio.Future[_GivenT], _GivenT | Exception]],
) -> None:
    """Give each future its answer, or what it raises; not those that nobody waits for any more."""
    for future, outcome in answers:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
