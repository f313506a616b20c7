"""Open calls to skills: each can be cancelled by what overtakes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from skills_host.activity import Activity
from skills_host.bot.tasks import ended
from skills_host.consumer.relays import Heard, Relays
from skills_host.errors import SkillFailed

__all__ = ["OpenCalls"]

_ResultT = TypeVar("_ResultT")


class OpenCalls:
    """The calls of this process that wait for a skill, by the handle they were made with."""

    def __init__(self, relays: Relays) -> None:
        self._open: dict[str, set[asyncio.Task[Any]]] = {}
        self.relays = relays

    async def run(
        self,
        handle: str,
        call: Callable[[Heard], Coroutine[Any, Any, _ResultT]],
        *,
        heard: Heard,
    ) -> _ResultT:
        """Await `call`; `SkillFailed` with `skill-cancelled` if `cancel` comes first.

        What the call hands over is heard one by one and outside of it: whoever hears a reply may
        cancel the very call that it came with. Raises what the call and `heard` raise.
        """
        said: asyncio.Queue[Activity | None] = asyncio.Queue()

        async def hand_over(reply: Activity) -> None:
            said.put_nowait(reply)
            await said.join()

        task: asyncio.Task[_ResultT] = asyncio.create_task(call(hand_over))
        task.add_done_callback(lambda done: _finished(done, said))
        tasks = self._open.setdefault(handle, set())
        tasks.add(task)
        try:
            while (reply := await said.get()) is not None and not task.cancelling():
                await heard(reply)
                said.task_done()
            await ended(task)
        finally:
            task.cancel()
            tasks.discard(task)
            if not tasks:
                self._open.pop(handle, None)
        if task.cancelled():
            raise SkillFailed(code="skill-cancelled")
        return task.result()

    def cancel(self, handle: str) -> None:
        """Cancel what is open with this handle; nothing, if nothing is."""
        for task in self._open.get(handle, ()):
            task.cancel()


def _finished(done: asyncio.Task[Any], said: asyncio.Queue[Activity | None]) -> None:
    said.put_nowait(None)
    if not done.cancelled():
        # If hearing failed before, nobody asks how the call ended.
        done.exception()
