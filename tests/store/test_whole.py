"""A whole conversation over each kind of store that a service has to be there for."""

from __future__ import annotations

import asyncpg
import pytest

from tests.conftest import open_town
from tests.world import Town

pytestmark = pytest.mark.durability


async def records(database: str) -> int:
    """How many records the store holds."""
    connection = await asyncpg.connect(database)
    count: int = await connection.fetchval("SELECT count(*) FROM skills_host_records")
    await connection.close()
    return count


async def test_a_conversation_with_a_skill_over_postgresql(empty_town: Town, database: str) -> None:
    town = await open_town(empty_town, store={"url": database})

    await town.say("booking")
    for text in ("Lisbon", "2030-05-17", "2"):
        await town.say(text)
    assert await town.say("yes") == ["Booked: Lisbon on 2030-05-17. Have a good trip!"]
    rows = await records(database)
    await town.close()

    assert rows > 0
