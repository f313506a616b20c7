"""What all tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from skills.booking import bot as booking
from skills.echo import bot as echo
from skills_host import Root
from skills_host.lab.authority import Authority
from tests.world import Town, new_authority


@pytest.fixture(scope="session")
def authority() -> Authority:
    """One authority for all towns: making keys takes longer than most tests."""
    return new_authority()


@pytest.fixture
async def empty_town(tmp_path: Path, authority: Authority) -> AsyncIterator[Town]:
    """A lab and a console channel; no bot runs yet."""
    town = Town(tmp_path, authority)
    yield town
    await town.close()


@pytest.fixture
async def town(empty_town: Town) -> Town:
    """A lab, a console channel, the example skills, and a root that knows them."""
    return await open_town(empty_town)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_town(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> AsyncIterator[Town]:
    """The usual town for all tests of a file; they run in the module's loop."""
    town = await open_town(Town(tmp_path_factory.mktemp("town"), authority))
    yield town
    await town.close()


async def open_town(town: Town, root: Root | None = None, **settings: Any) -> Town:
    """Start the example skills, and a root that knows them with these settings."""
    await town.start_skill("echo", echo)
    await town.start_skill("booking", booking)
    await town.start_root(root=root, **settings)
    return town
