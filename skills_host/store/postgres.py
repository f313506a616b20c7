"""The store for several machines: PostgreSQL through asyncpg, one statement for what comes at once.

Units of changes that are written at the same time are one call of a function in the database: it
locks their keys, checks every expectation and makes each unit whole or not at all, in one commit.
What is read at the same time is one statement, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib import resources
from types import MappingProxyType
from typing import Any

from skills_host.errors import SettingsError, StoreFailed, VersionConflict
from skills_host.store.batches import Batches
from skills_host.store.records import Change, Check, Delete, Key, Put, Record, check_unit

try:
    import asyncpg
except ImportError:  # the extra `postgres` is not installed
    asyncpg = None

__all__ = ["PostgresStore"]

CONNECTIONS = 8
END = b"\xff"  # no byte of UTF-8: every key with a prefix sorts before prefix and this
CONNECT_WAIT = 5.0  # seconds until a connection counts as refused
ANSWER_WAIT = 10.0  # seconds that one statement may take
IN_VAIN = -1  # the number of a change that expected something else
MOST = 100  # reads, or units, that one statement is for
MIGRATING = 0x736B696C6C73  # the advisory lock that one migration holds

# What the library raises where a connection broke off, but for the server's own words.
LOST = (asyncpg.InterfaceError, asyncpg.InternalClientError) if asyncpg else ()
# What an operator has to mend, by the server's code or its class.
REASONS = MappingProxyType(
    {
        "08": "the connection to the database was lost",
        "25006": "the store can only be read",
        "53100": "the disk is full",
        "53300": "the database has too many connections",
        "57P01": "the connection to the database was lost",
        "57P02": "the connection to the database was lost",
        "57P03": "the database starts or stops",
        "58": "the disk fails",
    }
)

READ = (
    "SELECT kind, key, version, body, owner, expires, due"
    " FROM unnest($1::bytea[], $2::bytea[]) AS wanted (kind, key)"
    " JOIN skills_host_records USING (kind, key) WHERE expires IS NULL OR expires > $3"
)
SCAN = (
    "SELECT kind, key, version, body, owner, expires, due FROM skills_host_records"
    " WHERE kind = $1 AND key >= $2 AND key > $3 AND key < $4"
    " AND (expires IS NULL OR expires > $5) ORDER BY key LIMIT $6"
)
WRITE = "SELECT skills_host_write_units($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
IS_DUE = (
    "SELECT 1 FROM skills_host_records WHERE kind = $1 AND due <= $2 AND key >= $3 AND key < $4"
    " LIMIT 1"
)
CLAIM = (
    "SELECT kind, key, version, body, owner, expires, due"
    " FROM skills_host_claim($1, $2, $3, $4, $5, $6)"
)
RENEW = "SELECT skills_host_renew($1, $2, $3, $4, $5)"
# Whoever revives a record holds its row: it is left for the next time.
EXPIRE = (
    "DELETE FROM skills_host_records WHERE ctid = ANY (ARRAY("
    "SELECT ctid FROM skills_host_records WHERE expires <= $1 ORDER BY expires LIMIT $2"
    " FOR UPDATE SKIP LOCKED))"
)
TOUCH = (
    "INSERT INTO skills_host_probe (id, at) VALUES (1, $1)"
    " ON CONFLICT (id) DO UPDATE SET at = excluded.at"
)


class PostgresStore:
    """A `Store` in the database at `url` (`postgresql://…`); belongs to one event loop.

    `now` gives seconds since the epoch. The address is shown nowhere: it may hold a password.
    """

    def __init__(self, url: str, *, now: Callable[[], float] = time.time) -> None:
        if asyncpg is None:
            raise SettingsError("store.url: needs the extra postgres: skills-host[postgres]")
        self._url = url
        self._now = now
        self._pool: Any = None
        self._reads: Batches[tuple[Key, ...], dict[Key, Record]]
        self._writes: Batches[tuple[Change, ...], tuple[int, ...]]
        # Held while the pool is made or closed: no second one beside it, no close before its end.
        self._turning = asyncio.Lock()
        self._schema = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Connect, and create or migrate the tables; nothing if it is open.

        Raises `SettingsError` naming `store.url` where the server knows no such user or database
        or its tables were made by a newer version, and `StoreFailed` where it cannot be reached.
        """
        async with self._turning:
            if self._pool is not None:
                return
            pool = await self._connected()
            try:
                with _translated():
                    async with pool.acquire() as connection, connection.transaction():
                        self._schema = await _migrate(connection)
            except BaseException:
                pool.terminate()
                raise
            # Bound to the pool: what was accepted is finished while the store closes.
            self._reads = Batches(partial(self._read, pool), most=MOST)
            self._writes = Batches(partial(self._written, pool), most=MOST)
            self._pool = pool

    async def close(self) -> None:
        """Finish what was accepted, then disconnect; nothing if it is closed."""
        async with self._turning:
            pool, self._pool = self._pool, None
            if pool is None:
                return
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._reads.finish()
            await self._writes.finish()
            try:
                async with asyncio.timeout(CONNECT_WAIT):
                    await pool.close()
            except TimeoutError:
                pool.terminate()

    async def read(self, keys: Iterable[Key]) -> dict[Key, Record]:
        """The living records of `keys`, read by one statement with what others read now."""
        wanted = tuple(keys)
        for kind, key in wanted:
            # What cannot be asked for must not fail with it.
            kind.encode()
            key.encode()
        if not wanted:
            return {}
        self._check_open()
        return await self._reads.ask(wanted)

    async def scan(
        self, kind: str, prefix: str = "", *, after: str = "", limit: int
    ) -> list[Record]:
        """The living records of a range of keys, read by one statement."""
        if limit < 0:
            raise ValueError("a scan reads at least 0 records")
        begin = prefix.encode()
        span = (kind.encode(), begin, after.encode(), begin + END)
        return [_record(row) for row in await self._fetched(SCAN, *span, self._now(), limit)]

    async def write(self, changes: Sequence[Change]) -> tuple[int, ...]:
        """Make all changes in one transaction, which what others write now may share."""
        unit = tuple(changes)
        check_unit(unit)
        if not unit:
            return ()
        self._check_open()
        return await self._writes.ask(unit)

    async def claim(self, kind: str, prefix: str = "", *, until: float, limit: int) -> list[Record]:
        """Take records that are due; a transaction that writes only where there are any."""
        at, begin = self._now(), prefix.encode()
        span = (begin, begin + END)
        if not await self._fetched(IS_DUE, kind.encode(), at, *span):
            return []
        claim = self._fetched(CLAIM, kind.encode(), *span, until, limit, at)
        return list(map(_record, await self._finished(claim)))

    async def renew(self, records: Iterable[Record], *, until: float) -> list[Record]:
        """Keep claimed records, in one transaction; those that are still ours."""
        held = list(records)
        if not held:
            return []
        kinds, keys = [r.kind.encode() for r in held], [r.key.encode() for r in held]
        versions = [record.version for record in held]
        ((kept,),) = await self._finished(
            self._fetched(RENEW, kinds, keys, versions, until, self._now())
        )
        return [replace(record, due=until) for record, ours in zip(held, kept, strict=True) if ours]

    async def expire(self, now: float, limit: int) -> int:
        """Remove up to `limit` records that have expired at `now`, the oldest first."""
        done: str = await self._finished(self._execute(EXPIRE, now, limit))
        return int(done.rpartition(" ")[2])

    async def probe(self) -> None:
        """Raise `StoreFailed` unless a commit and a read succeed, at a schema that is known."""
        await self._finished(self._execute(TOUCH, self._now()))
        ((version,),) = await self._fetched("SELECT max(version) FROM skills_host_schema")
        if version > self._schema:
            raise StoreFailed("a newer version of skills-host has migrated it")

    async def _connected(self) -> Any:
        try:
            return await asyncpg.create_pool(
                self._url,
                min_size=1,
                max_size=CONNECTIONS,
                timeout=CONNECT_WAIT,
                command_timeout=ANSWER_WAIT,
                reset=_kept,
                server_settings={"application_name": "skills-host", "synchronous_commit": "on"},
            )
        except (
            asyncpg.InvalidCatalogNameError,
            asyncpg.InvalidAuthorizationSpecificationError,
            ValueError,
        ) as exc:
            reason = type(exc).__name__
            raise SettingsError(f"store.url: the server refuses it ({reason})") from None
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as exc:
            # What the library says may name the user and the host.
            raise StoreFailed(f"the database cannot be reached ({type(exc).__name__})") from None

    async def _read(
        self, pool: Any, asked: Sequence[tuple[Key, ...]]
    ) -> list[dict[Key, Record] | Exception]:
        """What each of them asked for."""
        wanted = dict.fromkeys(key for keys in asked for key in keys)
        kinds, names = [kind.encode() for kind, _ in wanted], [key.encode() for _, key in wanted]
        rows = map(_record, await self._fetched(READ, kinds, names, self._now(), pool=pool))
        found = {(record.kind, record.key): record for record in rows}
        return [{key: found[key] for key in keys if key in found} for keys in asked]

    async def _written(
        self, pool: Any, units: Sequence[tuple[Change, ...]]
    ) -> list[tuple[int, ...] | Exception]:
        """The numbers of each unit, or its conflict."""
        ((numbers,),) = await self._fetched(WRITE, *_columns(units), self._now(), pool=pool)
        outcomes: list[tuple[int, ...] | Exception] = []
        for unit in units:
            own, numbers = tuple(numbers[: len(unit)]), numbers[len(unit) :]
            if IN_VAIN in own:
                refused = unit[own.index(IN_VAIN)]
                outcomes.append(VersionConflict(refused.kind, refused.key))
            else:
                outcomes.append(own)
        return outcomes

    async def _execute(self, statement: str, *values: object) -> str:
        with _translated():
            async with self._connection() as connection:
                done: str = await connection.execute(statement, *values)
                return done

    async def _fetched(self, statement: str, *values: object, pool: Any = None) -> list[Any]:
        with _translated():
            async with self._connection(pool) as connection:
                rows: list[Any] = await connection.fetch(statement, *values)
                return rows

    @contextlib.asynccontextmanager
    async def _connection(self, pool: Any = None) -> AsyncIterator[Any]:
        if pool is None:
            self._check_open()
        with _lost_is_failed():
            async with (pool or self._pool).acquire(timeout=ANSWER_WAIT) as connection:
                yield connection

    def _check_open(self) -> None:
        if self._pool is None:
            raise StoreFailed("the store is not open")

    async def _finished(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Wait for a change that goes on when the one who waits is cancelled."""
        if self._pool is None:
            work.close()
            raise StoreFailed("the store is not open")
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._noted)
        await asyncio.wait({task})
        return task.result()

    def _noted(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Nobody asks any more if the caller was cancelled.
            task.exception()


async def _kept(_: Any) -> None:
    """Leave a connection as it is given back: no statement here changes what outlives it.

    The library would ask the server to forget settings, listeners and session locks each time.
    """


async def _migrate(connection: Any) -> int:
    """Bring the tables forward in the transaction that is open; others wait for it.

    Returns the schema that they are at.
    """
    await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATING)
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS skills_host_schema (version integer NOT NULL)"
    )
    version = await connection.fetchval("SELECT max(version) FROM skills_host_schema") or 0
    scripts = _migrations()
    if version > len(scripts):
        raise SettingsError(
            f"store.url: the database has schema {version}, written by a newer version of"
            f" skills-host; this one knows schema {len(scripts)}"
        )
    for number, script in enumerate(scripts[version:], start=version + 1):
        await connection.execute(script)
        await connection.execute("INSERT INTO skills_host_schema VALUES ($1)", number)
    return len(scripts)


def _migrations() -> list[str]:
    """The scripts in order; script n, named by four digits, leads to schema n."""
    folder = resources.files("skills_host.store") / "migrations" / "postgres"
    found = sorted(folder.iterdir(), key=lambda entry: entry.name)
    return [entry.read_text(encoding="utf-8") for entry in found if entry.name.endswith(".sql")]


def _columns(units: Sequence[Sequence[Change]]) -> tuple[list[Any], ...]:
    """The units as the arrays that the database's function takes."""
    rows = [(number, *_row(change)) for number, unit in enumerate(units) for change in unit]
    return tuple(map(list, zip(*rows, strict=True)))


def _row(change: Change) -> tuple[Any, ...]:
    names = type(change).__name__.lower(), change.kind.encode(), change.key.encode()
    if isinstance(change, Delete | Check):
        return *names, None, change.expects, None, None, None
    due = change.due if isinstance(change, Put) else None
    return *names, change.body, change.expects, change.owner.encode(), change.expires, due


def _record(row: Any) -> Record:
    kind, key, version, body, owner, expires, due = row
    return Record(kind.decode(), key.decode(), version, body, owner.decode(), expires, due)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Raise `StoreFailed` for every error of the database inside."""
    try:
        yield
    except asyncpg.PostgresError as exc:
        raise StoreFailed(_reason(exc)) from exc


def _reason(failure: Any) -> str:
    """What an operator has to mend, where the server's code says so."""
    state = failure.sqlstate or ""
    return REASONS.get(state) or REASONS.get(state[:2], "")


@contextlib.contextmanager
def _lost_is_failed() -> Iterator[None]:
    """Raise `StoreFailed` where the connection, not the statement, is what failed."""
    try:
        yield
    except (*LOST, OSError, EOFError, TimeoutError) as exc:
        raise StoreFailed("the database cannot be reached") from exc
