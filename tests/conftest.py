"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import settings

from skills.booking import bot as booking
from skills.echo import bot as echo
from skills_host import Root
from tests.world import Lab, Town

# What goes through every combination, or starts many worlds: a suite of its own.
SLOW = frozenset(
    {
        "auth/test_certificates.py",
        "auth/test_directions.py",
        "auth/test_fuzz.py",
        "bot/test_late.py",
        "cli/test_cert.py",
        "cli/test_import.py",
        "cli/test_manifest.py",
        "cli/test_route.py",
        "cli/test_skill.py",
        "consumer/test_chains.py",
        "consumer/test_ids.py",
        "consumer/registry/test_live.py",
        "consumer/test_overlaps.py",
        "consumer/test_types.py",
        "lab/test_assertions.py",
        "lab/test_clients.py",
        "test_credentials_stay_sealed.py",
        "test_egress.py",
        "test_parity.py",
        "test_rotation_under_load.py",
        "test_round_trip.py",
        "test_shapes.py",
        "web/admin/test_rest.py",
        "web/admin/test_roles.py",
        "web/test_fuzz.py",
    }
)
# Of these the default suite runs nothing either.
ELSEWHERE = SLOW | {"durability", "interop", "web/admin/test_generated.py"}
TESTS = Path(__file__).parent
# Only the store's own tests need a disk to wait for.
MEMORY = "/dev/shm"


def pytest_addoption(parser: pytest.Parser) -> None:
    """What only the suites of some folders look at."""
    text = "write docs/compatibility.md from what the interop tests observe"
    parser.addoption("--write-compatibility", action="store_true", help=text)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not read what the default suite would not run: each worker would take seconds for it."""
    is_default = config.option.markexpr == config.getini("addopts")[-1]
    if is_default and collection_path.relative_to(TESTS).as_posix() in ELSEWHERE:
        return True
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, unless another suite has it."""
    for item in items:
        if item.path.relative_to(TESTS).as_posix() not in SLOW:
            continue
        if not any(map(item.get_closest_marker, ("durability", "processes", "interop"))):
            item.add_marker(pytest.mark.slow)


# Enough to find what a change breaks; before a release, --hypothesis-profile=thorough.
settings.register_profile("quick", max_examples=40, deadline=None)
settings.register_profile("thorough", max_examples=400, deadline=None)
settings.load_profile("quick")


@pytest.fixture(scope="session")
def lab() -> Lab:
    """One lab for all towns."""
    return Lab()


@contextmanager
def new_folder() -> Iterator[Path]:
    """A folder for the stores of one town, in memory where that is possible."""
    where = MEMORY if os.access(MEMORY, os.W_OK) else None
    with TemporaryDirectory(prefix="skills-host-", dir=where) as folder:
        yield Path(folder)


@pytest.fixture
async def empty_town(lab: Lab) -> AsyncIterator[Town]:
    """A lab and a console channel; no bot runs yet."""
    with new_folder() as folder:
        town = Town(folder, lab)
        yield town
        await town.close()


@pytest.fixture
async def town(empty_town: Town) -> Town:
    """A lab, a console channel, the example skills, and a root that knows them."""
    return await open_town(empty_town)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_town(lab: Lab) -> AsyncIterator[Town]:
    """The usual town for all tests of a file; they run in the module's loop."""
    with new_folder() as folder:
        town = await open_town(Town(folder, lab))
        yield town
        await town.close()


async def open_town(town: Town, root: Root | None = None, **settings: Any) -> Town:
    """Start the example skills, and a root that knows them with these settings."""
    await town.start_skill("echo", echo)
    await town.start_skill("booking", booking)
    await town.start_root(root=root, **settings)
    return town
