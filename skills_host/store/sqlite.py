"""The default store: one SQLite file, one thread that writes, reads at once on the calling thread.

A commit waits for the disk, so writes queue for the writer thread, which makes all that has
queued in one commit and answers nobody before it. A point read costs less than handing it to a
thread. Several processes may share the file: every expectation is checked inside the transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from skills_host.errors import SettingsError, StoreFailed, VersionConflict
from skills_host.store.records import (
    ANY,
    Append,
    Change,
    Delete,
    Key,
    Record,
    Store,
    check_unit,
    element_key,
)

__all__ = ["SqliteStore", "store_from_url"]

log = logging.getLogger(__name__)

SCHEME = "sqlite:///"
WRITE_WAIT = 5.0  # seconds that a write waits for another process's transaction
READ_WAIT = 1.0  # less, because a read waits on the event loop's thread

# A join in this order looks every key up in the index; `IN (VALUES …)` would read the whole table.
READ = (
    "WITH wanted (kind, key) AS (VALUES {})"
    " SELECT kind, key, version, body, owner, expires"
    " FROM wanted CROSS JOIN records USING (kind, key) WHERE expires IS NULL OR expires > ?"
)
VERSION = (
    "SELECT version FROM records WHERE kind = ? AND key = ? AND (expires IS NULL OR expires > ?)"
)
LAST = (
    "SELECT n FROM records WHERE kind = ? AND stream = ? AND (expires IS NULL OR expires > ?)"
    " ORDER BY n DESC LIMIT 1"
)
KEEP = (
    "INSERT INTO records (kind, key, version, owner, expires, stream, n, body)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET"
    " version = excluded.version, owner = excluded.owner, expires = excluded.expires,"
    " stream = coalesce(excluded.stream, stream), n = coalesce(excluded.n, n),"
    " body = excluded.body"
)
DELETE = "DELETE FROM records WHERE kind = ? AND key = ?"
EXPIRE = (
    "DELETE FROM records WHERE rowid IN"
    " (SELECT rowid FROM records WHERE expires <= ? ORDER BY expires LIMIT ?)"
)
TOUCH = "INSERT INTO probe (id, at) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at"

Work = Callable[[sqlite3.Connection], tuple[int, ...]]
"""One unit. It runs inside the writer's transaction and may raise `VersionConflict` only before
it has changed anything; any other error undoes the whole batch."""

Future = asyncio.Future[tuple[int, ...]]
Outcome = tuple[int, ...] | VersionConflict | StoreFailed


def store_from_url(url: str) -> Store:
    """The store for `sqlite:///relative.db` or `sqlite:////absolute.db`, not yet open.

    The path is taken as it is written. `SettingsError` names `store.url`.
    """
    path = url.removeprefix(SCHEME)
    if path == url:
        raise SettingsError("store.url: expected sqlite:///PATH")
    if not path or path.endswith("/") or path == ":memory:" or set(path) & set("?#\0"):
        raise SettingsError("store.url: expected the path of a file after sqlite:///")
    return SqliteStore(path)


class SqliteStore:
    """A `Store` in the file `path`; `now` gives seconds since the epoch and runs on any thread.

    The file and its companions are made readable to their owner only.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        now: Callable[[], float] = time.time,
        write_wait: float = WRITE_WAIT,
    ) -> None:
        self._path = Path(path).absolute()
        self._now = now
        self._write_wait = write_wait
        self._lock = threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._writer: _Writer | None = None

    async def open(self) -> None:
        """Create or migrate the file and start the writer; nothing if it is open.

        Raises `SettingsError` naming `store.url` where the file cannot be made or was written by
        a newer version, and `StoreFailed` where it is no usable database.
        """
        await asyncio.to_thread(self._open)

    async def close(self) -> None:
        """Commit what was accepted, then close the file; nothing if it is closed."""
        await asyncio.to_thread(self._close)

    async def read(self, keys: Iterable[Key]) -> dict[Key, Record]:
        """The living records of `keys`, read at once by one statement."""
        wanted = list(keys)
        if not wanted:
            return {}
        statement = READ.format(", ".join(["(?, ?)"] * len(wanted)))
        values = [text for pair in wanted for text in pair]
        rows = self._select(statement, [*values, self._now()])
        return {(row[0], row[1]): Record(*row) for row in rows}

    async def write(self, changes: Sequence[Change]) -> tuple[int, ...]:
        """Make all changes in one commit, which they may share with other units."""
        unit = tuple(changes)
        check_unit(unit)
        return await self._submit(partial(_write, changes=unit, now=self._now))

    async def expire(self, now: float, limit: int) -> int:
        """Remove up to `limit` records that have expired at `now`, the oldest first."""
        (removed,) = await self._submit(partial(_expire, now=now, limit=limit))
        return removed

    async def probe(self) -> None:
        """Raise `StoreFailed` unless a commit and a read succeed."""
        await self._submit(partial(_touch, now=self._now))
        self._select("SELECT at FROM probe", [])

    def _select(self, statement: str, values: Sequence[str | float]) -> list[Any]:
        with self._lock, _translated():
            if self._reader is None:
                raise StoreFailed("the store is not open")
            return self._reader.execute(statement, values).fetchall()

    def _submit(self, work: Work) -> Future:
        future: Future = asyncio.get_running_loop().create_future()
        # Under the lock, so that nothing is queued behind the writer's last batch.
        with self._lock:
            if self._writer is None:
                raise StoreFailed("the store is not open")
            self._writer.put(_Unit(work, future))
        return future

    def _open(self) -> None:
        with self._lock, _translated(), contextlib.ExitStack() as undo:
            if self._writer is not None:
                return
            _make_private(self._path)
            writing = _connected(self._path, wait=self._write_wait)
            undo.callback(writing.close)
            _use_wal(writing, wait=self._write_wait)
            _migrate(writing)
            self._reader = _connected(self._path, wait=READ_WAIT)
            self._reader.execute("PRAGMA query_only = ON")
            self._writer = _Writer(writing)
            undo.pop_all()

    def _close(self) -> None:
        with self._lock:
            reader, self._reader = self._reader, None
            writer, self._writer = self._writer, None
        if reader is not None:
            reader.close()
        if writer is not None:
            writer.stop()


# --- the writer thread


@dataclass(frozen=True, slots=True)
class _Unit:
    work: Work
    future: Future


class _Writer:
    """Owns the writing connection and the thread that uses it; `stop` ends both."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._queue: queue.SimpleQueue[_Unit | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def put(self, unit: _Unit) -> None:
        self._queue.put(unit)

    def stop(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first, *self._queued()]
            _answer(batch, self._committed(batch))
        self._connection.close()

    def _queued(self) -> Iterator[_Unit]:
        with contextlib.suppress(queue.Empty):
            while (unit := self._queue.get_nowait()) is not None:
                yield unit
            self._queue.put(None)  # for `_run`, after this batch

    def _committed(self, batch: Sequence[_Unit]) -> list[Outcome]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            outcomes = [_outcome(unit.work, self._connection) for unit in batch]
            self._connection.execute("COMMIT")
        except Exception as exc:
            # Whatever it was, the thread lives on and nobody is left waiting.
            log.exception("a batch of writes failed", extra={"units": len(batch)})
            with contextlib.suppress(sqlite3.Error):
                self._connection.rollback()
            return [_failure(exc) for _ in batch]
        return outcomes


def _outcome(work: Work, connection: sqlite3.Connection) -> Outcome:
    try:
        return work(connection)
    except VersionConflict as exc:
        return exc


def _failure(cause: Exception) -> StoreFailed:
    failed = StoreFailed()
    failed.__cause__ = cause
    return failed


def _answer(batch: Sequence[_Unit], outcomes: Sequence[Outcome]) -> None:
    """Wake each loop once, however many of the batch wait in it."""
    waiting: dict[asyncio.AbstractEventLoop, list[tuple[Future, Outcome]]] = defaultdict(list)
    for unit, outcome in zip(batch, outcomes, strict=True):
        waiting[unit.future.get_loop()].append((unit.future, outcome))
    for loop, answers in waiting.items():
        # A loop that was closed meanwhile has no waiters left.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, answers)


def _settle(answers: Sequence[tuple[Future, Outcome]]) -> None:
    for future, outcome in answers:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


# --- units


def _write(
    connection: sqlite3.Connection, *, changes: Sequence[Change], now: Callable[[], float]
) -> tuple[int, ...]:
    at = now()
    # Every expectation before the first change: a unit that conflicts leaves nothing to undo.
    numbers = [_checked(connection, change, now=at) for change in changes]
    for change, number in zip(changes, numbers, strict=True):
        _make(connection, change, number)
    return tuple(numbers)


def _checked(connection: sqlite3.Connection, change: Change, *, now: float) -> int:
    """The number that the change will return; `VersionConflict` if its expectation fails."""
    statement = LAST if isinstance(change, Append) else VERSION
    row = connection.execute(statement, (change.kind, change.key, now)).fetchone()
    found: int = row[0] if row is not None else 0
    if change.expects is not ANY and change.expects != found:
        raise VersionConflict(change.kind, change.key)
    return 0 if isinstance(change, Delete) else found + 1


def _make(connection: sqlite3.Connection, change: Change, number: int) -> None:
    if isinstance(change, Delete):
        connection.execute(DELETE, (change.kind, change.key))
        return
    place: tuple[object, ...] = (change.key, number, change.owner, change.expires, None, None)
    if isinstance(change, Append):
        key = element_key(change.key, number)
        place = (key, 1, change.owner, change.expires, change.key, number)
    connection.execute(KEEP, (change.kind, *place, change.body))


def _expire(connection: sqlite3.Connection, *, now: float, limit: int) -> tuple[int, ...]:
    return (connection.execute(EXPIRE, (now, limit)).rowcount,)


def _touch(connection: sqlite3.Connection, *, now: Callable[[], float]) -> tuple[int, ...]:
    connection.execute(TOUCH, (now(),))
    return ()


# --- the file


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        raise StoreFailed from exc


def _make_private(path: Path) -> None:
    """Create the folder (0700) and the file (0600), whose mode SQLite gives to its companions."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.chmod(f"{path}{suffix}", 0o600)
    except OSError as exc:
        raise SettingsError(f"store.url: cannot use {path} ({exc.strerror})") from None


def _connected(path: Path, *, wait: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=wait, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _use_wal(connection: sqlite3.Connection, *, wait: float) -> None:
    """Switch the file to WAL; SQLite does not wait by itself while another process does so."""
    deadline = time.monotonic() + wait
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.01)


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema forward in one transaction, which other processes wait for."""
    scripts = _migrations()
    connection.execute("BEGIN EXCLUSIVE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(scripts):
            raise SettingsError(
                f"store.url: the file has schema {version}, written by a newer version of"
                f" skills-host; this one knows schema {len(scripts)}"
            )
        for number, script in enumerate(scripts[version:], start=version + 1):
            for statement in _statements(script):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _migrations() -> list[str]:
    """The scripts in order; script n, named by four digits, leads to schema n."""
    folder = resources.files("skills_host.store") / "migrations"
    found = sorted(folder.iterdir(), key=lambda entry: entry.name)
    return [entry.read_text(encoding="utf-8") for entry in found if entry.name.endswith(".sql")]


def _statements(script: str) -> Iterator[str]:
    """The statements one by one: `executescript` would commit before them."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
