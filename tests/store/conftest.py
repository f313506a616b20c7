from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from skills_host.store.memory import MemoryStore
from skills_host.store.postgres import PostgresStore
from skills_host.store.records import Store
from skills_host.store.sqlite import SqliteStore

POSTGRES = os.environ.get("SKILLS_HOST_TEST_POSTGRES", "postgresql://root@127.0.0.1:5432/test")


class Clock:
    """Seconds since the epoch, moved by the test."""

    def __init__(self, at: float = 1000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@asynccontextmanager
async def empty_schema() -> AsyncIterator[str]:
    """The address of an empty schema of its own in a real server, dropped after the test."""
    try:
        connection = await asyncpg.connect(POSTGRES, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError) as exc:
        pytest.skip(f"no PostgreSQL at 127.0.0.1:5432 ({type(exc).__name__})")
    schema = f"skills_host_{uuid.uuid4().hex}"
    await connection.execute(f"CREATE SCHEMA {schema}")
    yield f"{POSTGRES}?search_path={schema}"
    await connection.execute(f"DROP SCHEMA {schema} CASCADE")
    await connection.close()


@pytest.fixture
async def database() -> AsyncIterator[str]:
    async with empty_schema() as url:
        yield url


@pytest.fixture(params=["sqlite", "memory", pytest.param("postgres", marks=pytest.mark.durability)])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> AsyncIterator[Store]:
    """Every implementation of `Store`, open, at the clock's time."""
    async with AsyncExitStack() as stack:
        opened: Store = SqliteStore(tmp_path / "host.db", now=clock)
        if request.param == "memory":
            opened = MemoryStore(now=clock)
        if request.param == "postgres":
            opened = PostgresStore(await stack.enter_async_context(empty_schema()), now=clock)
        await opened.open()
        yield opened
        await opened.close()
