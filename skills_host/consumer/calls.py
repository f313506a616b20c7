"""Open calls to skills: each can be cancelled by what overtakes it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from skills_host.errors import SkillFailed

__all__ = ["OpenCalls"]

_ResultT = TypeVar("_ResultT")


class OpenCalls:
    """The calls of this process that wait for a skill, by the handle they were made with."""

    def __init__(self) -> None:
        self._open: dict[str, set[asyncio.Task[Any]]] = {}

    async def run(self, handle: str, call: Coroutine[Any, Any, _ResultT]) -> _ResultT:
        """Await `call`; `SkillFailed` with `skill-cancelled` if `cancel` comes first."""
        task: asyncio.Task[_ResultT] = asyncio.create_task(call)
        tasks = self._open.setdefault(handle, set())
        tasks.add(task)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
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
