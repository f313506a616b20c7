"""What all tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skills.booking import bot as booking
from skills.echo import bot as echo
from tests.world import Town


@pytest.fixture
async def empty_town(tmp_path: Path) -> AsyncIterator[Town]:
    """A lab and a console channel; no bot runs yet."""
    town = Town(tmp_path)
    yield town
    await town.close()


@pytest.fixture
async def town(empty_town: Town) -> Town:
    """A lab, a console channel, the example skills, and a root that knows them."""
    await empty_town.start_skill("echo", echo)
    await empty_town.start_skill("booking", booking)
    await empty_town.start_root()
    return empty_town
