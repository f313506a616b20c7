"""One desk for all tests of a file; they run in the module's loop."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.conftest import new_folder
from tests.web.admin.desk import Desk, open_desk
from tests.world import Lab, Town


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(lab: Lab) -> AsyncIterator[Desk]:
    """A root with its REST API."""
    with new_folder() as folder:
        town = Town(folder, lab)
        found = await open_desk(town)
        yield found
        await found.store.close()
        await town.close()
