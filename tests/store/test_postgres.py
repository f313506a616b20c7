"""What is PostgreSQL's own; `test_records` holds it to everything that all stores do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from skills_host.errors import SettingsError, StoreFailed, VersionConflict
from skills_host.store.address import shown_url, store_from_url
from skills_host.store.postgres import PostgresStore
from skills_host.store.records import NEW, Append, Check, Delete, Put
from tests.store.conftest import POSTGRES

pytestmark = pytest.mark.durability


@pytest.fixture
async def other(database: str) -> AsyncIterator[asyncpg.Connection]:
    """Another program's connection to the same schema."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def test_both_spellings_of_the_scheme_mean_the_server(database: str) -> None:
    for scheme in ("postgresql://", "postgresql+asyncpg://"):
        store = store_from_url(database.replace("postgresql://", scheme))
        await store.open()
        await store.probe()
        await store.close()


async def test_hosts_that_start_at_once_migrate_once(database: str) -> None:
    stores = [PostgresStore(database) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    outcomes = await asyncio.gather(
        *(store.write([Put("state", "a", b"", expects=NEW)]) for store in stores),
        return_exceptions=True,
    )

    assert sum(isinstance(outcome, VersionConflict) for outcome in outcomes) == 3
    for store in stores:
        await store.close()


async def test_units_that_cross_do_not_wait_for_each_other_for_ever(database: str) -> None:
    store = PostgresStore(database)
    await store.open()
    names = ["a", "b", "c"]
    units = [[Put("state", name, b"") for name in order] for order in (names, names[::-1]) * 20]
    await asyncio.gather(*(store.write(unit) for unit in units))

    assert await store.write([Put("state", "a", b"", expects=40)]) == (41,)
    await store.close()


async def test_what_is_written_at_once_shares_a_commit(
    database: str, other: asyncpg.Connection
) -> None:
    store = PostgresStore(database)
    await store.open()
    await asyncio.gather(*(store.write([Put("state", str(n), b"")]) for n in range(20)))

    # The transaction that wrote a row.
    assert await other.fetchval("SELECT count(DISTINCT xmin::text) FROM skills_host_records") == 1
    await store.close()


async def test_units_of_one_commit_see_each_other_and_name_what_conflicts(database: str) -> None:
    store = PostgresStore(database)
    await store.open()
    first, second, conflict, last = await asyncio.gather(
        store.write([Put("state", "a", b"1", expects=NEW), Append("log", "a", b"1")]),
        store.write([Append("log", "a", b"2", expects=1), Put("state", "b", b"2")]),
        store.write([Put("state", "c", b"3"), Put("state", "a", b"3", expects=NEW)]),
        store.write([Check("state", "b", expects=1), Delete("state", "a", expects=1)]),
        return_exceptions=True,
    )

    assert (first, second, last) == ((1, 1), (2, 1), (1, 0))
    assert isinstance(conflict, VersionConflict)
    assert (conflict.kind, conflict.key) == ("state", "a")
    assert [record.key for record in await store.scan("state", limit=9)] == ["b"]
    await store.close()


async def test_a_lost_connection_fails_and_the_next_call_has_a_new_one(
    database: str, other: asyncpg.Connection
) -> None:
    store = PostgresStore(database)
    await store.open()
    await store.write([Append("log", "a", b"")])
    await other.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'skills-host' AND query LIKE '%skills_host_write%'"
    )
    for _ in range(3):
        # A dead connection of the pool may be met before it is known to be dead.
        try:
            assert await store.write([Append("log", "a", b"", expects=1)]) == (2,)
            break
        except StoreFailed:
            continue

    assert len(await store.scan("log", limit=9)) == 2
    await store.close()


async def test_tables_of_a_newer_version_are_refused(
    database: str, other: asyncpg.Connection
) -> None:
    store = PostgresStore(database)
    await store.open()
    await store.close()
    await other.execute("INSERT INTO skills_host_schema VALUES (99)")

    with pytest.raises(SettingsError, match=r"store\.url: .* schema 99"):
        await PostgresStore(database).open()


async def test_a_read_only_database_turns_the_probe_red(database: str) -> None:
    store = PostgresStore(database)
    await store.open()
    await store.close()
    store = PostgresStore(f"{database}&default_transaction_read_only=on")
    with pytest.raises(StoreFailed):
        await store.open()


async def test_an_unknown_database_is_a_settings_error_without_the_address() -> None:
    store = PostgresStore(POSTGRES.replace("/test", "/no_such_database").replace("@", ":pa55@"))

    with pytest.raises(SettingsError, match=r"store\.url") as caught:
        await store.open()
    assert "pa55" not in f"{caught.value!r} {caught.value} {store!r}"


async def test_a_server_that_is_away_is_a_failed_store_without_the_address() -> None:
    store = PostgresStore("postgresql://user:pa55@127.0.0.1:1/test")

    with pytest.raises(StoreFailed) as caught:
        await store.open()
    assert "pa55" not in f"{caught.value!r} {caught.value}"


async def test_text_may_hold_what_the_servers_own_text_may_not(database: str) -> None:
    store = PostgresStore(database)
    await store.open()
    await store.write([Put("state", "a\0b", b"\0", owner="\0")])

    assert (await store.read([("state", "a\0b")]))["state", "a\0b"].owner == "\0"
    await store.close()


def test_an_address_is_shown_without_user_password_and_options() -> None:
    shown = shown_url("postgresql://user:pa55@db.example:5432/bots?password=pa55")

    assert shown == "postgresql://db.example:5432/bots"
