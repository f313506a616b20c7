"""One world of processes for the whole session; peers, deliveries and cells as parameters."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Generator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.interop.cast import DELIVERIES, PEERS, peer_root, skill_name
from tests.interop.matrix import ROLES, Cell, Observed, page_of
from tests.interop.processes import REPOSITORY
from tests.interop.world import InteropWorld

LOGS = pytest.StashKey[Path]()
OBSERVED = pytest.StashKey[Observed]()
PASSED = pytest.StashKey[bool]()
LOG_TAIL = 4000


def pytest_configure(config: pytest.Config) -> None:
    """The marks of this folder."""
    config.addinivalue_line("markers", "row(name): the row of the matrix that the test is about")
    config.stash[OBSERVED] = Observed()


@pytest.fixture(scope="session")
def observed(pytestconfig: pytest.Config) -> Observed:
    """What the session has seen so far."""
    return pytestconfig.stash[OBSERVED]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[InteropWorld]:
    """The lab and the tap run; bots start when they are asked for."""
    folder = tmp_path_factory.mktemp("interop")
    request.session.stash[LOGS] = folder
    async with InteropWorld(folder) as world:
        yield world


def require_peer(world: InteropWorld, name: str) -> None:
    """A test of a peer that is not built, or cannot run here, is skipped, or fails in CI."""
    absent = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
    is_built = (REPOSITORY / ".peers" / name / "stamp").exists()
    if not is_built or (name.endswith("js") and shutil.which("node") is None):
        absent(f"{name} is not built: run scripts/peers")
    if name.startswith("ag") and world.no_fixed_hosts:
        absent(f"{name}: {world.no_fixed_hosts}")


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest, world: InteropWorld) -> str:
    """A published SDK whose bots can run here."""
    name: str = request.param
    require_peer(world, name)
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
    """The name of a peer's running consumer of our running skill."""
    name = peer_root(peer, delivery)
    await world.start_host("ours")
    await world.start_consumer(name)
    return name


@pytest_asyncio.fixture(params=ROLES, loop_scope="session")
async def cell(
    request: pytest.FixtureRequest,
    world: InteropWorld,
    peer: str,
    delivery: str,
    observed: Observed,
) -> AsyncIterator[Cell]:
    """A cell of the matrix, whose bots run; kept as observed after the test."""
    role, row = request.param, request.node.get_closest_marker("row").args[0]
    await world.start_host("ours" if role != "skill" else "root")
    if role == "skill":
        await world.start_skill(peer)
    else:
        await world.start_consumer(peer_root(peer, delivery))
    root = peer_root(peer, delivery) if role == "consumer" else "root"
    if role == "middle":
        await world.start_host("root")
    cell = Cell(world, role, peer, delivery, row, world.talk(root))
    yield cell
    cell.keep_in(observed, passed=request.node.stash.get(PASSED, False))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Show the matrix, if something of it was tried."""
    if config.stash[OBSERVED].cells or config.stash[OBSERVED].failed:
        terminalreporter.section("compatibility")
        terminalreporter.write(page_of(config.stash[OBSERVED]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the ends of all logs with a failure."""
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    folder = item.session.stash.get(LOGS, None)
    if report.failed and folder is not None:
        for log in sorted(folder.glob("*.log")):
            text = log.read_text(encoding="utf-8", errors="replace")
            report.sections.append((str(log), text[-LOG_TAIL:] or "(empty)"))
    return report
