"""What a host looks for again and again: whatever is due in the store, and nobody's work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from skills_host.bot.tasks import Tasks
from skills_host.errors import SkillsHostError
from skills_host.store.coordination import DUE, Coordination, woken

__all__ = ["go_round"]

log = logging.getLogger(__name__)


async def go_round(
    works: Sequence[Callable[[], Awaitable[None]]],
    *,
    tasks: Tasks,
    coordination: Coordination,
    seconds: float,
) -> None:
    """Do all `works`, every so many seconds and when something is told to be due, until a stop."""
    due = asyncio.Event()
    stop = coordination.listen(DUE, due.set)
    try:
        while not tasks.is_stopping:
            for work in works:
                try:
                    await work()
                except SkillsHostError as exc:
                    log.error("what is due could not be looked for: %s", exc.code)
                except Exception:
                    # Whatever it was, the next round may go well, and nobody else would look.
                    log.exception("what is due could not be looked for")
            await woken(due, within=seconds)
    finally:
        stop()
