from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skills_host.store.records import Store
from skills_host.store.sqlite import SqliteStore


class Clock:
    """Seconds since the epoch, moved by the test."""

    def __init__(self, at: float = 1000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite"])
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    """Every implementation of `Store`, open, at the clock's time."""
    opened = SqliteStore(tmp_path / "host.db", now=clock)
    await opened.open()
    yield opened
    await opened.close()
