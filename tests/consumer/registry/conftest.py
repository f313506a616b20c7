from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from skills_host.store.postgres import PostgresStore
from skills_host.store.records import Store
from skills_host.store.sqlite import SqliteStore
from tests.store.conftest import empty_schema


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.durability)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Every implementation of `Store`, open."""
    async with AsyncExitStack() as stack:
        opened: Store = SqliteStore(tmp_path / "host.db", now=lambda: 1000.0)
        if request.param == "postgres":
            url = await stack.enter_async_context(empty_schema())
            opened = PostgresStore(url, now=lambda: 1000.0)
        await opened.open()
        stack.push_async_callback(opened.close)
        yield opened
