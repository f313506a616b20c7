"""Roots that are stopped and started again under load: nothing is lost, nothing doubled."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.durability.fleet import Report, started, user

pytestmark = pytest.mark.processes

USERS = 8
STOPS = 4


@pytest.mark.timeout(120)
async def test_a_graceful_stop_in_the_middle_of_load_loses_nothing(tmp_path: Path) -> None:
    report, over, statuses = Report(), asyncio.Event(), []
    async with started(tmp_path, roots=2, store_url="sqlite:///shared.db") as world:
        fleet, roots, console = world
        names = [f"u{n}" for n in range(USERS)]
        talking = [
            asyncio.create_task(user(console, name, report, over, thinking=0.05)) for name in names
        ]
        for n in range(STOPS):
            root = roots[n % 2]
            said = sum(map(len, report.said.values()))
            async with asyncio.timeout(20):
                while sum(map(len, report.said.values())) < said + 2 * USERS:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            process = fleet._started[root.name].process
            await fleet.stop(root.name)
            statuses.append(process.returncode)
            await fleet.start_bot(root)
        over.set()
        await asyncio.gather(*talking)
        for name in names:
            transcript = console.open(name).transcript
            async with asyncio.timeout(20):
                await transcript.next_entry(after=len(report.said[name]) - 1)
            report.heard[name] = [entry.text for entry in transcript.entries]
    counts = report.counts()

    assert statuses == [0] * STOPS
    assert (report.odd(), counts["doubled"], counts["out of order"]) == ([], 0, 0)
    assert counts["answered"] == counts["messages"] > STOPS * USERS
