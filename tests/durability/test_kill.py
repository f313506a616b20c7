"""Root processes that are killed at random: each user gets each answer once, in order.

Two skills are talked to, one of which is done with every message: the root's code tells so.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.durability.fleet import LOST, lived, shown
from tests.store.conftest import empty_schema
from tests.store.redis import REDIS, own_prefix

pytestmark = pytest.mark.durability

Screen = pytest.CaptureFixture[str]
SECONDS = float(os.environ.get("SKILLS_HOST_KILL_SECONDS", "60"))


@pytest.mark.timeout(300)
async def test_one_root_on_sqlite_may_be_killed_at_any_time(tmp_path: Path, capsys: Screen) -> None:
    report = await lived(
        tmp_path, roots=1, users=20, seconds=SECONDS, store_url="sqlite:///shared.db", closing=True
    )
    counts = shown(report, capsys)

    assert (report.odd(), counts["doubled"], counts["out of order"]) == ([], 0, 0)
    assert counts["kills"] > 0


@pytest.mark.timeout(300)
async def test_four_roots_on_postgresql_with_redis_may_be_killed_at_any_time(
    tmp_path: Path, capsys: Screen
) -> None:
    async with empty_schema() as url, own_prefix() as prefix:
        told = {"url": REDIS, "prefix": prefix}
        report = await lived(
            tmp_path,
            roots=4,
            users=200,
            seconds=SECONDS,
            store_url=url,
            coordination=told,
            closing=True,
        )
    counts = shown(report, capsys)

    assert (report.odd(), counts["doubled"], counts["out of order"]) == ([], 0, 0)
    assert counts["kills"] > 0


@pytest.mark.timeout(300)
async def test_a_skill_that_must_not_get_it_twice_gives_one_answer_at_most(
    tmp_path: Path, capsys: Screen
) -> None:
    """As with a skill of an SDK; whoever gets none is told so."""
    report = await lived(
        tmp_path,
        roots=1,
        seconds=SECONDS / 3,
        users=20,
        store_url="sqlite:///shared.db",
        retry="never",
    )
    counts = shown(report, capsys)

    assert [line for line in report.odd() if LOST not in line and "not answered" not in line] == []
    assert (counts["doubled"], counts["out of order"]) == (0, 0)
    assert counts["not told"] == counts["not answered at last"] == 0
    assert counts["kills"] > 0
