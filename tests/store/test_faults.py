"""Faults of a store that is in use: clear words, nothing acknowledged lost, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skills_host.errors import StoreFailed
from skills_host.store.records import NEW, Append, Put, Store
from tests.store.faults import Faulty, database_faulty, file_faulty

LARGE = b"x" * 100_000
ON_DATABASE = [
    pytest.param(f"postgres {fault}", marks=pytest.mark.durability)
    for fault in ("full", "read-only", "lost", "too many")
]


@pytest.fixture(
    params=["sqlite full", "sqlite failing", "sqlite read-only", "sqlite lost", *ON_DATABASE]
)
async def faulty(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Faulty]:
    kind, _, fault = request.param.partition(" ")
    opened = file_faulty(fault, tmp_path) if kind == "sqlite" else database_faulty(fault)
    async with opened as faulty:
        yield faulty


async def broken(store: Store, why: str) -> None:
    """See that a write fails; a connection that is dead may have to be met first."""
    for _ in range(10):
        with pytest.raises(StoreFailed) as caught:
            await store.write([Put("state", "b", LARGE, expects=NEW), Append("log", "b", LARGE)])
        if why in str(caught.value):
            return
    raise AssertionError(str(caught.value))


async def well(store: Store) -> None:
    """Wait for a probe that goes well; a few may still meet what was lost."""
    for _ in range(20):
        try:
            await store.probe()
            return
        except StoreFailed:
            await asyncio.sleep(0)
    await store.probe()


async def test_a_fault_has_clear_words_and_ends_by_itself(faulty: Faulty) -> None:
    store = faulty.store
    await store.write([Put("state", "a", b"kept"), Append("log", "a", b"kept")])
    await faulty.breakage.cut()
    await broken(store, faulty.breakage.why)
    await faulty.breakage.mend()
    await well(store)

    found = await store.read([("state", "a"), ("state", "b")])
    assert [(record.key, record.body) for record in found.values()] == [("a", b"kept")]
    assert [record.key for record in await store.scan("log", limit=9)] == ["a/000000000001"]
    assert await store.write([Put("state", "b", LARGE, expects=NEW)]) == (1,)


async def test_what_was_acknowledged_before_or_meanwhile_is_there(faulty: Faulty) -> None:
    """Writes at once, a fault in the middle of them: kept is exactly what was answered."""
    store, kept = faulty.store, set()

    async def write(n: int) -> None:
        await asyncio.sleep(0)
        try:
            await store.write([Put("state", f"{n:03d}", LARGE[:8000], expects=NEW)])
            kept.add(f"{n:03d}")
        except StoreFailed:
            pass

    writes = [asyncio.create_task(write(n)) for n in range(60)]
    await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
    await faulty.breakage.cut()
    await asyncio.gather(*writes)
    await broken(store, faulty.breakage.why)
    await faulty.breakage.mend()
    await well(store)
    found = {record.key for record in await store.scan("state", limit=100)}

    assert kept
    assert kept <= found


async def test_a_newer_schema_turns_the_probe_red(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process, of a newer version, has migrated what this one has open."""
    if hasattr(store, "_schema"):
        monkeypatch.setattr(store, "_schema", 0)
    else:
        monkeypatch.setattr("skills_host.store.database._scripts", list)

    with pytest.raises(StoreFailed, match="newer version"):
        await store.probe()
