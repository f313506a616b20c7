"""One world of processes for the whole session, and the peers as parameters."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Generator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.interop.processes import REPOSITORY
from tests.interop.world import DELIVERIES, PEERS, InteropWorld, peer_root, skill_name

LOGS = pytest.StashKey[Path]()
LOG_TAIL = 4000


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[InteropWorld]:
    """The lab and the tap run; bots start when they are asked for."""
    folder = tmp_path_factory.mktemp("interop")
    request.session.stash[LOGS] = folder
    async with InteropWorld(folder) as world:
        yield world


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest) -> str:
    """A published SDK whose bots are built; without them the test is skipped, or fails in CI."""
    name: str = request.param
    is_built = (REPOSITORY / ".peers" / name / "stamp").exists()
    if not is_built or (name == "bfjs" and shutil.which("node") is None):
        absent = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        absent(f"{name} is not built: run scripts/peers")
    return name


@pytest.fixture(params=DELIVERIES)
def delivery(request: pytest.FixtureRequest) -> str:
    """How a skill's answers come back."""
    mode: str = request.param
    return mode


@pytest_asyncio.fixture(loop_scope="session")
async def skill(world: InteropWorld, peer: str, delivery: str) -> str:
    """The name, at our running roots, of a peer's running skill."""
    await world.start_host("root")
    await world.start_skill(peer)
    return skill_name(peer, delivery)


@pytest_asyncio.fixture(loop_scope="session")
async def consumer(world: InteropWorld, peer: str, delivery: str) -> str:
    """The name of a peer's running consumer of our running echo skill."""
    name = peer_root(peer, delivery)
    await world.start_host("echo")
    await world.start_consumer(name, delivery=delivery)
    return name


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the ends of all logs with a failure."""
    report = yield
    folder = item.session.stash.get(LOGS, None)
    if report.failed and folder is not None:
        for log in sorted(folder.glob("*.log")):
            text = log.read_text(encoding="utf-8", errors="replace")
            report.sections.append((str(log), text[-LOG_TAIL:] or "(empty)"))
    return report
