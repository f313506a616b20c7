"""Root processes that are killed at random while users talk to a skill on a published SDK.

Such a skill takes no key by which it would know a repetition: it is posted to once, and where
nobody knows what came of it, the user is told.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.durability.fleet import Abroad, Report, lived, shown
from tests.interop.conftest import require_peer
from tests.interop.world import InteropWorld
from tests.store.conftest import empty_schema
from tests.store.redis import REDIS, own_prefix

pytestmark = [
    pytest.mark.interop,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(300),
]

SECONDS = float(os.environ.get("SKILLS_HOST_KILL_SECONDS", "6"))
QUIET = 5.0
REST = 1.0  # a call of such a skill is short: many deaths, to hit some


async def abroad(world: InteropWorld, peer: str) -> Abroad:
    """The lab of the session, and a peer's skill there."""
    require_peer(world, peer)
    await world.start_skill(peer)
    return Abroad(world.lab_url, world.lab, world.bots["root"], world.bots[peer])


def check(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    """At most one answer, in order, to whom it is for; else the user is told, and can go on."""
    counts = shown(report, capsys)
    assert (counts["doubled"], counts["out of order"], counts["strange"]) == (0, 0, 0)
    assert (counts["not told"], counts["not answered at last"]) == (0, 0)
    assert counts["kills"] > 0


async def test_one_root_on_sqlite_may_be_killed_while_a_peers_skill_answers(
    world: InteropWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A skill whose client repeats what broke off."""
    name = os.environ.get("SKILLS_HOST_KILL_PEER", "bfjs")
    report = await lived(
        tmp_path,
        roots=1,
        users=20,
        seconds=SECONDS,
        rest=REST,
        quiet=QUIET,
        store_url="sqlite:///shared.db",
        retry="never",
        skill=name,
        abroad=await abroad(world, name),
    )

    check(report, capsys)


async def test_roots_on_postgresql_with_redis_may_be_killed_while_a_peers_skill_answers(
    world: InteropWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A skill whose client does not."""
    name = os.environ.get("SKILLS_HOST_KILL_PEER", "agjs")
    peer = await abroad(world, name)
    async with empty_schema() as url, own_prefix() as prefix:
        report = await lived(
            tmp_path,
            roots=3,
            users=40,
            seconds=SECONDS,
            rest=REST,
            quiet=QUIET,
            store_url=url,
            coordination={"url": REDIS, "prefix": prefix},
            retry="never",
            skill=name,
            abroad=peer,
        )

    check(report, capsys)
