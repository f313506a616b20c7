"""Open calls to skills: each can be cancelled by what overtakes it, and is passed on in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, TypeVar

from skills_host.activity import Activity
from skills_host.bot.tasks import ended
from skills_host.errors import SkillFailed

__all__ = ["Heard", "OpenCalls", "Relays"]

PATIENCE = 5.0  # seconds for which what comes later waits at most

Heard = Callable[[Activity], Awaitable[None]]
"""Takes one reply of a skill that streams."""

_ResultT = TypeVar("_ResultT")


class OpenCalls:
    """The calls of this process that wait for a skill, by the handle they were made with."""

    def __init__(self) -> None:
        self._open: dict[str, set[asyncio.Task[Any]]] = {}
        self.relays = Relays()

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


class Relays:
    """The answers of this process whose replies are being passed on, by handle.

    What a skill calls back waits for them, so that it comes after what it said before.
    """

    def __init__(self) -> None:
        self._open: dict[str, asyncio.Event] = {}

    async def passed_on(self, handle: str, replies: Iterable[Activity], hear: Heard) -> None:
        """Pass all replies of an answer on, one after the other."""
        done = self._open[handle] = asyncio.Event()
        try:
            for reply in replies:
                await hear(reply)
        finally:
            done.set()
            if self._open.get(handle) is done:
                del self._open[handle]

    def let_go(self, handle: str) -> None:
        """Let nobody wait any longer: the bot's code may want of the skill what would wait."""
        done = self._open.pop(handle, None)
        if done is not None:
            done.set()

    async def done(self, handle: str) -> None:
        """Wait until nothing is being passed on, if not for ever."""
        done = self._open.get(handle)
        if done is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await done.wait()


def _finished(done: asyncio.Task[Any], said: asyncio.Queue[Activity | None]) -> None:
    said.put_nowait(None)
    if not done.cancelled():
        # If hearing failed before, nobody asks how the call ended.
        done.exception()
