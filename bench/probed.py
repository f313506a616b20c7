"""The host's command line with a probe in its event loop, or with `idle` the probe alone.

Run as `python -m bench.probed serve --config FILE`. Once a second it writes a line of JSON to the
file that SKILLS_HOST_PROBE names: how late a timer of two milliseconds was at the most and how
often it was over 20 ms late, in milliseconds, and how many tasks there are.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.processes import new_loop

__all__ = ["BLOCKED", "VARIABLE", "main"]

VARIABLE = "SKILLS_HOST_PROBE"
TICK = 0.002
BLOCKED = 0.020


async def probe(path: Path) -> None:
    """Write lines until cancelled."""
    with path.open("w", buffering=1) as lines:
        while True:
            latest = [late async for late in _second()]
            line = {
                "worst_ms": max(latest) * 1e3,
                "blocked": sum(late > BLOCKED for late in latest),
                "tasks": len(asyncio.all_tasks()),
            }
            lines.write(json.dumps(line) + "\n")


async def _second() -> Any:
    over = time.perf_counter() + 1.0
    while (began := time.perf_counter()) < over:
        await asyncio.sleep(TICK)
        yield time.perf_counter() - began - TICK


async def beside(work: Coroutine[Any, Any, Any]) -> Any:
    """Run the work with the probe beside it."""
    task = asyncio.create_task(probe(Path(os.environ[VARIABLE])))
    try:
        return await work
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def main() -> None:
    """Run the command with the probe in every event loop that it starts."""
    if sys.argv[1:] == ["idle"]:
        with asyncio.Runner(loop_factory=new_loop()) as runner:
            runner.run(probe(Path(os.environ[VARIABLE])))
        return
    from skills_host.cli import main as command

    usual = asyncio.Runner.run

    def run(self: asyncio.Runner, work: Coroutine[Any, Any, Any], **options: Any) -> Any:
        return usual(self, beside(work), **options)

    asyncio.Runner.run = run  # type: ignore[assignment, method-assign]
    command()


if __name__ == "__main__":
    main()
