"""The default store: one SQLite file, one thread that writes, reads at once on the calling thread.

A commit waits for the disk, so writes queue for the writer thread. A point read, or a page of
keys, costs less than handing it to a thread. Several processes may share the file: every
expectation is checked inside the transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from skills_host.errors import StoreFailed, VersionConflict
from skills_host.store.database import (
    Place,
    check_schema,
    connect_for_reading,
    connect_for_writing,
    failed,
    translated,
)
from skills_host.store.records import (
    ANY,
    Append,
    Change,
    Check,
    Delete,
    Key,
    Put,
    Record,
    check_unit,
    element_key,
)
from skills_host.store.writer import Work, Writer

__all__ = ["SqliteStore"]

WRITE_WAIT = 5.0  # seconds that a write waits for another process's transaction
READ_WAIT = 1.0  # less, because a read waits on the event loop's thread

# A join in this order looks every key up in the index; `IN (VALUES …)` would read the whole table.
READ = (
    "WITH wanted (kind, key) AS (VALUES {})"
    " SELECT kind, key, version, body, owner, expires, due"
    " FROM wanted CROSS JOIN records USING (kind, key) WHERE expires IS NULL OR expires > ?"
)
# `<>`, not `>`: with two lower bounds SQLite might begin every page at the prefix.
SCAN = (
    "SELECT kind, key, version, body, owner, expires, due FROM records"
    " WHERE kind = ? AND key >= ? AND key <> ? AND key < CAST(? AS TEXT)"
    " AND (expires IS NULL OR expires > ?) ORDER BY key LIMIT ?"
)
VERSION = (
    "SELECT version FROM records WHERE kind = ? AND key = ? AND (expires IS NULL OR expires > ?)"
)
LAST = (
    "SELECT n FROM records WHERE kind = ? AND stream = ? AND (expires IS NULL OR expires > ?)"
    " ORDER BY n DESC LIMIT 1"
)
KEEP = (
    "INSERT INTO records (kind, key, version, owner, expires, due, stream, n, body)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET"
    " version = excluded.version, owner = excluded.owner, expires = excluded.expires,"
    " due = excluded.due,"
    " stream = coalesce(excluded.stream, stream), n = coalesce(excluded.n, n),"
    " body = excluded.body"
)
# Where no version is expected, the one that is there need not be asked for first.
REPLACE = (
    "INSERT INTO records (kind, key, version, owner, expires, due, body)"
    " VALUES (?, ?, 1, ?, ?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET"
    " version = iif(expires IS NULL OR expires > ?, version + 1, 1),"
    " owner = excluded.owner, expires = excluded.expires, due = excluded.due,"
    " body = excluded.body RETURNING version"
)
DELETE = "DELETE FROM records WHERE kind = ? AND key = ?"
EXPIRE = (
    "DELETE FROM records WHERE rowid IN"
    " (SELECT rowid FROM records WHERE expires <= ? ORDER BY expires LIMIT ?)"
)
# `+key`: what is due is few, and the keys of a prefix may be millions.
IS_DUE = (
    "SELECT 1 FROM records WHERE kind = ? AND due <= ?"
    " AND +key >= ? AND +key < CAST(? AS TEXT) LIMIT 1"
)
CLAIM = (
    "UPDATE records SET version = version + 1, due = ? WHERE rowid IN"
    " (SELECT rowid FROM records WHERE kind = ? AND due <= ?"
    " AND +key >= ? AND +key < CAST(? AS TEXT) AND (expires IS NULL OR expires > ?)"
    " ORDER BY due LIMIT ?)"
    " RETURNING kind, key, version, body, owner, expires, due"
)
RENEW = (
    "UPDATE records SET due = ? WHERE kind = ? AND key = ? AND version = ? AND due IS NOT NULL"
    " AND (expires IS NULL OR expires > ?)"
)
TOUCH = "INSERT INTO probe (id, at) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at"


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
        self._closing = threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._writer: Writer | None = None

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

    async def scan(
        self, kind: str, prefix: str = "", *, after: str = "", limit: int
    ) -> list[Record]:
        """The living records of a range of keys, read at once by one statement."""
        if limit < 0:
            raise ValueError("a scan reads at least 0 records")
        values = (kind, max(prefix, after), after, _end(prefix), self._now(), limit)
        return [Record(*row) for row in self._select(SCAN, values)]

    async def write(self, changes: Sequence[Change]) -> tuple[int, ...]:
        """Make all changes in one commit, which they may share with other units."""
        unit = tuple(changes)
        check_unit(unit)
        return await self._submit(partial(_write, changes=unit, now=self._now))

    async def claim(self, kind: str, prefix: str = "", *, until: float, limit: int) -> list[Record]:
        """Take records that are due; a commit only where there are any."""
        at = self._now()
        span = (prefix, _end(prefix))
        if not self._select(IS_DUE, [kind, at, *span]):
            return []
        claimed: list[Record] = []
        await self._submit(partial(_claim, (until, kind, at, *span, at, limit), claimed))
        return claimed

    async def renew(self, records: Iterable[Record], *, until: float) -> list[Record]:
        """Keep claimed records, in one commit; those that are still ours."""
        held = list(records)
        if not held:
            return []
        kept = await self._submit(partial(_renew, records=held, until=until, now=self._now))
        return [
            replace(record, due=until)
            for record, is_ours in zip(held, kept, strict=True)
            if is_ours
        ]

    async def expire(self, now: float, limit: int) -> int:
        """Remove up to `limit` records that have expired at `now`, the oldest first."""
        (removed,) = await self._submit(partial(_expire, now=now, limit=limit))
        return removed

    async def probe(self) -> None:
        """Raise `StoreFailed` unless a commit and a read succeed, at a schema that is known."""
        await self._submit(partial(_touch, now=self._now))
        self._select("SELECT at FROM probe", [])

    def _select(self, statement: str, values: Sequence[str | bytes | float]) -> list[Any]:
        with self._lock:
            if self._reader is None:
                raise StoreFailed("the store is not open")
            try:
                return self._reader.execute(statement, values).fetchall()
            except sqlite3.Error as exc:
                raise failed(exc) from exc

    def _submit(self, work: Work) -> asyncio.Future[tuple[int, ...]]:
        # Under the lock, so that nothing is queued behind the writer's last batch.
        with self._lock:
            if self._writer is None:
                raise StoreFailed("the store is not open")
            return self._writer.submit(work)

    def _open(self) -> None:
        with self._lock, translated(), contextlib.ExitStack() as undo:
            if self._writer is not None:
                return
            writing = connect_for_writing(self._path, wait=self._write_wait)
            undo.callback(writing.close)
            self._reader = connect_for_reading(self._path, wait=READ_WAIT)
            self._writer = Writer(writing, check=Place(self._path).check)
            undo.pop_all()

    def _close(self) -> None:
        # Whoever closes at the same time must not think it closed while a batch is being written.
        with self._closing:
            with self._lock:
                reader, self._reader = self._reader, None
                writer, self._writer = self._writer, None
            if reader is not None:
                reader.close()
            if writer is not None:
                writer.stop()


def _end(prefix: str) -> bytes:
    # No byte of UTF-8 is 0xFF: every key with the prefix sorts before this, and only they.
    return prefix.encode() + b"\xff"


def _write(
    connection: sqlite3.Connection, *, changes: Sequence[Change], now: Callable[[], float]
) -> tuple[int, ...]:
    at = now()
    # Every expectation before the first change: a unit that conflicts leaves nothing to undo.
    found = [_found(connection, change, now=at) for change in changes]
    pairs = zip(changes, found, strict=True)
    return tuple(_made(connection, change, version, now=at) for change, version in pairs)


def _found(connection: sqlite3.Connection, change: Change, *, now: float) -> int:
    """The version, or the last number, that is there; `VersionConflict` if another is expected.

    0 where it is neither expected nor needed.
    """
    if change.expects is ANY and not isinstance(change, Append):
        return 0
    statement = LAST if isinstance(change, Append) else VERSION
    row = connection.execute(statement, (change.kind, change.key, now)).fetchone()
    found: int = row[0] if row is not None else 0
    if change.expects is not ANY and change.expects != found:
        raise VersionConflict(change.kind, change.key)
    return found


def _made(connection: sqlite3.Connection, change: Change, found: int, *, now: float) -> int:
    """Make a change whose expectation holds; the number that it returns."""
    match change:
        case Check():
            return found
        case Delete():
            connection.execute(DELETE, (change.kind, change.key))
            return 0
        case Append():
            key, number = element_key(change.key, found + 1), found + 1
            element = (change.owner, change.expires, None, change.key, number)
            connection.execute(KEEP, (change.kind, key, 1, *element, change.body))
            return number
        case Put(expects=None):
            kept = (change.owner, change.expires, change.due, change.body)
            # To its end: a statement that still runs would keep the batch from its commit.
            ((version,),) = connection.execute(REPLACE, (change.kind, change.key, *kept, now))
            return int(version)
        case Put():
            record = (change.owner, change.expires, change.due, None, None, change.body)
            connection.execute(KEEP, (change.kind, change.key, found + 1, *record))
            return found + 1


def _claim(
    values: Sequence[str | bytes | float], found: list[Record], connection: sqlite3.Connection
) -> tuple[int, ...]:
    """Put what is claimed into `found`."""
    found[:] = [Record(*row) for row in connection.execute(CLAIM, values)]
    return ()


def _renew(
    connection: sqlite3.Connection,
    *,
    records: Sequence[Record],
    until: float,
    now: Callable[[], float],
) -> tuple[int, ...]:
    """For each record 1 if it is kept, else 0."""
    at = now()
    return tuple(
        connection.execute(RENEW, (until, r.kind, r.key, r.version, at)).rowcount for r in records
    )


def _expire(connection: sqlite3.Connection, *, now: float, limit: int) -> tuple[int, ...]:
    return (connection.execute(EXPIRE, (now, limit)).rowcount,)


def _touch(connection: sqlite3.Connection, *, now: Callable[[], float]) -> tuple[int, ...]:
    connection.execute(TOUCH, (now(),))
    check_schema(connection)
    return ()
