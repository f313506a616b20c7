from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from skills_host.errors import SettingsError, StoreFailed, VersionConflict
from skills_host.store.address import store_from_url
from skills_host.store.records import NEW, Append, Delete, Put
from skills_host.store.sqlite import SqliteStore

ONE_PROCESS = """
import asyncio, sys
from skills_host.store.records import Append
from skills_host.store.sqlite import SqliteStore

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open()
    for _ in range(25):
        await store.write([Append("log", "a", b"")])
    await store.close()

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "host.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(path)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def other(path: Path, store: SqliteStore) -> Iterator[sqlite3.Connection]:
    """Another program's connection to the same file."""
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


def mode(path: Path | str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


async def test_the_folder_and_files_are_private(path: Path, store: SqliteStore) -> None:
    await store.write([Put("state", "a", b"1")])

    assert mode(path.parent) == 0o700
    assert [mode(f"{path}{suffix}") for suffix in ("", "-wal", "-shm")] == [0o600] * 3


async def test_files_with_wider_modes_are_mended(path: Path) -> None:
    os.mkdir(path.parent, mode=0o755)
    os.close(os.open(path, os.O_CREAT, mode=0o644))
    store = SqliteStore(path)
    await store.open()
    await store.close()

    assert mode(path) == 0o600
    assert mode(path.parent) == 0o755


async def test_commits_wait_for_the_disk(store: SqliteStore, other: sqlite3.Connection) -> None:
    assert store._writer is not None
    writing = store._writer._connection

    assert writing.execute("PRAGMA synchronous").fetchone() == (2,)
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_what_is_written_in_one_pass_of_the_loop_is_one_commit(store: SqliteStore) -> None:
    assert store._writer is not None
    commands: list[str] = []
    store._writer._connection.set_trace_callback(commands.append)
    queued = []
    for _ in range(5):
        queued.append(store._writer.submit(lambda connection: (7,)))
        time.sleep(0.01)  # noqa: ASYNC251 - the thread could begin, while the loop's pass goes on

    assert await asyncio.gather(*queued) == [(7,)] * 5
    assert commands.count("COMMIT") == 1


async def test_what_is_queued_when_the_thread_is_ended_is_written(store: SqliteStore) -> None:
    assert store._writer is not None
    queued = store._writer.submit(lambda connection: (7,))
    store._writer.stop()

    async with asyncio.timeout(5):
        assert await queued == (7,)


async def test_what_expects_nothing_is_one_statement(store: SqliteStore) -> None:
    assert store._writer is not None
    await store.write([Put("state", "a", b"1")])
    commands: list[str] = []
    store._writer._connection.set_trace_callback(commands.append)
    await store.write([Put("state", "a", b"2"), Delete("state", "b")])

    assert [command.split()[0] for command in commands] == ["BEGIN", "INSERT", "DELETE", "COMMIT"]


async def test_writes_survive_a_new_store(path: Path) -> None:
    first = SqliteStore(path)
    await first.open()
    await first.write([Put("state", "a", b"1")])
    await first.close()
    second = SqliteStore(path)
    await second.open()

    assert ("state", "a") in await second.read([("state", "a")])
    await second.close()


async def test_a_store_that_was_never_opened_fails(path: Path) -> None:
    store = SqliteStore(path)
    await store.close()

    with pytest.raises(StoreFailed):
        await store.read([("state", "a")])


async def test_two_stores_on_one_file_respect_versions(path: Path) -> None:
    stores = [SqliteStore(path), SqliteStore(path)]
    await asyncio.gather(*(store.open() for store in stores))
    outcomes = await asyncio.gather(
        *(store.write([Put("state", "a", b"", expects=NEW)]) for store in stores),
        return_exceptions=True,
    )
    await stores[0].write([Put("state", "a", b"seen", expects=1)])

    assert sorted(map(str, outcomes)) == ["(1,)", "a state record was changed meanwhile"]
    assert (await stores[1].read([("state", "a")]))["state", "a"].body == b"seen"
    with pytest.raises(VersionConflict):
        await stores[1].write([Put("state", "a", b"", expects=1)])
    for store in stores:
        await store.close()


async def test_processes_that_start_at_once_share_the_file(path: Path) -> None:
    command = [sys.executable, "-c", ONE_PROCESS, str(path)]
    processes = [await asyncio.create_subprocess_exec(*command) for _ in range(3)]

    assert [await process.wait() for process in processes] == [0, 0, 0]
    store = SqliteStore(path)
    await store.open()
    assert await store.write([Append("log", "a", b"", expects=75)]) == (76,)
    await store.close()


async def test_what_was_answered_survives_a_kill(path: Path) -> None:
    script = ONE_PROCESS.replace("await store.close()", "import os; os._exit(9)")
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script, str(path)], check=False
    )
    store = SqliteStore(path)
    await store.open()

    assert done.returncode == 9
    assert await store.write([Append("log", "a", b"", expects=25)]) == (26,)
    await store.close()


async def test_a_loop_is_woken_once_for_a_batch(
    store: SqliteStore, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    woken: list[Callable[..., Any]] = []
    wake = loop.call_soon_threadsafe

    def counted(callback: Callable[..., Any], *args: Any, **more: Any) -> asyncio.Handle:
        woken.append(callback)
        return wake(callback, *args, **more)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    other.execute("BEGIN IMMEDIATE")  # so that all but the first unit queue behind it
    writes = [asyncio.create_task(store.write([Put("x", str(n), b"")])) for n in range(50)]
    await asyncio.sleep(0)
    other.execute("ROLLBACK")
    await asyncio.gather(*writes)

    assert len(woken) <= 2


async def test_waiters_of_several_loops_are_answered(store: SqliteStore) -> None:
    async def write(name: str) -> list[tuple[int, ...]]:
        units = (store.write([Put(name, str(n), b"")]) for n in range(50))
        return await asyncio.gather(*units)

    there, here = await asyncio.gather(
        asyncio.to_thread(lambda: asyncio.run(write("there"))), write("here")
    )

    assert there == here == [(1,)] * 50


async def test_a_waiter_whose_loop_is_gone_breaks_nothing(
    store: SqliteStore, other: sqlite3.Connection
) -> None:
    async def leave() -> None:
        write = asyncio.create_task(store.write([Put("state", "a", b"")]))
        await asyncio.sleep(0)
        write.cancel()

    other.execute("BEGIN IMMEDIATE")  # so that the loop is closed before the answer
    await asyncio.to_thread(lambda: asyncio.run(leave()))
    other.execute("ROLLBACK")

    assert await store.write([Put("state", "b", b"")]) == (1,)
    assert ("state", "a") in await store.read([("state", "a")])


async def test_a_file_held_by_another_program_fails_every_waiter(
    path: Path, other: sqlite3.Connection
) -> None:
    store = SqliteStore(path, write_wait=0.0)
    await store.open()
    other.execute("BEGIN IMMEDIATE")
    outcomes = await asyncio.gather(
        *(store.write([Put("state", str(n), b"")]) for n in range(5)), return_exceptions=True
    )
    with pytest.raises(StoreFailed):
        await store.probe()
    other.execute("ROLLBACK")

    assert [type(outcome) for outcome in outcomes] == [StoreFailed] * 5
    assert await store.write([Put("state", "0", b"", expects=NEW)]) == (1,)
    await store.probe()
    await store.close()


async def test_a_failure_in_a_batch_undoes_the_batch(
    store: SqliteStore, other: sqlite3.Connection
) -> None:
    other.execute(
        "CREATE TRIGGER broken BEFORE INSERT ON records WHEN new.key = 'broken'"
        " BEGIN SELECT raise(ABORT, 'broken'); END"
    )

    with pytest.raises(StoreFailed) as caught:
        await store.write([Put("state", "a", b""), Put("state", "broken", b"")])

    assert "broken" not in str(caught.value)
    assert await store.read([("state", "a")]) == {}
    assert await store.write([Put("state", "a", b"", expects=NEW)]) == (1,)


async def test_a_commit_that_fails_fails_every_waiter(
    store: SqliteStore, other: sqlite3.Connection
) -> None:
    other.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
    other.execute("CREATE TABLE child (id REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
    other.execute(
        "CREATE TRIGGER orphan AFTER INSERT ON records WHEN new.key = 'orphan'"
        " BEGIN INSERT INTO child VALUES (1); END"
    )
    assert store._writer is not None
    store._writer._connection.execute("PRAGMA foreign_keys = ON")

    with pytest.raises(StoreFailed):
        await store.write([Put("state", "a", b""), Put("state", "orphan", b"")])

    assert await store.read([("state", "a")]) == {}
    assert await store.write([Put("state", "b", b"")]) == (1,)


async def test_a_read_that_fails_raises_store_failed(
    store: SqliteStore, other: sqlite3.Connection
) -> None:
    other.execute("DROP TABLE records")

    with pytest.raises(StoreFailed) as caught:
        await store.read([("state", "a")])

    assert "records" not in str(caught.value)


async def test_a_newer_schema_is_refused_in_clear_words(
    path: Path, store: SqliteStore, other: sqlite3.Connection
) -> None:
    other.execute("PRAGMA user_version = 99")

    with pytest.raises(SettingsError, match=r"store\.url: the file has schema 99"):
        await SqliteStore(path).open()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database\n" * 100)

    with pytest.raises(StoreFailed):
        await SqliteStore(path).open()


async def test_a_folder_that_cannot_be_made_is_a_settings_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SettingsError, match=r"store\.url: cannot use"):
        await SqliteStore(tmp_path / "file" / "host.db").open()


async def test_reading_many_keys_does_not_read_the_table(
    store: SqliteStore, other: sqlite3.Connection
) -> None:
    statements: list[str] = []
    assert store._reader is not None
    store._reader.set_trace_callback(statements.append)
    await store.read([("state", "a"), ("state", "b")])
    plan = other.execute("EXPLAIN QUERY PLAN " + statements[0]).fetchall()

    assert len(statements) == 1
    assert any("SEARCH records USING INDEX" in step[3] for step in plan)


@pytest.mark.parametrize("prefix", ["", "log/", "\U0010ffff"])
async def test_a_scan_reads_no_more_than_its_range(
    prefix: str, store: SqliteStore, other: sqlite3.Connection
) -> None:
    statements: list[str] = []
    assert store._reader is not None
    store._reader.set_trace_callback(statements.append)
    await store.scan("log", prefix, after="log/5", limit=10)
    (plan,) = other.execute("EXPLAIN QUERY PLAN " + statements[0]).fetchall()  # and no sorting

    assert len(statements) == 1
    assert "records USING INDEX records_by_key (kind=? AND key>? AND key<?)" in plan[3]


@pytest.mark.parametrize(("prefix", "after"), [("log/", "log/4000"), ("log/4", ""), ("log/4", "a")])
async def test_a_scan_steps_over_nothing_before_its_place(
    prefix: str, after: str, store: SqliteStore
) -> None:
    await store.write([Put("log", f"log/{n:04d}", b"") for n in range(5000)])
    assert store._reader is not None
    steps: list[None] = []
    store._reader.set_progress_handler(lambda: steps.append(None), 1)
    await store.scan("log", prefix, after=after, limit=5)

    assert len(steps) < 500  # of SQLite's machine: some 20 for a row


@pytest.mark.parametrize("url", ["sqlite:///here/host.db", "sqlite:///host.db"])
async def test_a_url_with_a_relative_path_is_under_the_working_folder(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = store_from_url(url)
    await store.open()
    await store.close()

    assert (tmp_path / url.removeprefix("sqlite:///")).exists()


async def test_a_url_with_an_absolute_path_is_taken_as_it_is(tmp_path: Path) -> None:
    store = store_from_url(f"sqlite:///{tmp_path}/a b%20c.db")
    await store.open()
    await store.close()

    assert (tmp_path / "a b%20c.db").exists()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host.db",
        "sqlite://host.db",
        "sqlite:///",
        "sqlite:////folder/",
        "sqlite:///:memory:",
        "memory",
        "sqlite:///host.db?mode=ro",
        "mysql://db/host",
    ],
)
def test_a_url_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"store\.url"):
        store_from_url(url)
