"""What can happen to a store while it is in use: each fault is made, and mended again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from skills_host.store.postgres import PostgresStore
from skills_host.store.records import Store
from skills_host.store.sqlite import SqliteStore
from tests.store.conftest import POSTGRES, empty_schema

PARTS = urlsplit(POSTGRES)
FULL = (
    "CREATE FUNCTION filled() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE disk_full; END $$"
)


async def _nothing() -> None: ...


@dataclass
class Breakage:
    """What breaks a store, and what mends it; `why` is in the words of its failure."""

    why: str
    cut: Callable[[], Awaitable[object]]
    mend: Callable[[], Awaitable[object]] = _nothing


@dataclass
class Faulty:
    """A store, and what breaks it."""

    store: Store
    breakage: Breakage


class Relay:
    """Connections on a port of its own to the database; `cut` is a server that goes away."""

    def __init__(self) -> None:
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Refuse new connections and abort those that are open."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._server = None

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(PARTS.hostname, PARTS.port or 5432)
        pair = {writer, forth}
        self._writers |= pair
        await asyncio.gather(_copied(reader, forth, self.saw), _copied(back, writer))
        self._writers -= pair

    def saw(self, data: bytes) -> None:
        """What a client sends passes here."""


async def _copied(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    saw: Callable[[bytes], object] = lambda data: None,
) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            saw(data)
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def file_faulty(fault: str, folder: Path) -> AsyncIterator[Faulty]:
    """A SQLite store with one fault."""
    store = SqliteStore(folder / "host.db", write_wait=0.05)
    await store.open()
    faults = file_faults(store, folder / "host.db")
    yield Faulty(store, faults[fault])
    await faults["failing"].mend()
    await store.close()


def file_faults(store: SqliteStore, path: Path) -> dict[str, Breakage]:
    """What can happen to the file of an open store. `failing` is so for the whole process."""
    assert store._writer is not None
    writing = store._writer._connection
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    elsewhere = path.with_name("elsewhere")

    async def full() -> None:
        (pages,) = writing.execute("PRAGMA page_count").fetchone()
        writing.execute(f"PRAGMA max_page_count = {pages}")

    async def emptied() -> None:
        writing.execute("PRAGMA max_page_count = 1000000")

    async def failing() -> None:
        # What is written past this size is refused by the system.
        size = max(_sizes(path.parent))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))

    async def working() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    async def only_read() -> None:
        writing.execute("PRAGMA query_only = ON")

    async def written() -> None:
        writing.execute("PRAGMA query_only = OFF")

    async def moved() -> None:
        os.rename(path, elsewhere)

    async def back() -> None:
        os.rename(elsewhere, path)

    return {
        "full": Breakage("the disk is full", full, emptied),
        "failing": Breakage("the disk fails", failing, working),
        "read-only": Breakage("the store can only be read", only_read, written),
        "lost": Breakage("the file is not where it was", moved, back),
    }


def _sizes(folder: Path) -> list[int]:
    return [file.stat().st_size for file in folder.iterdir()]


@asynccontextmanager
async def database_faulty(fault: str) -> AsyncIterator[Faulty]:
    """A PostgreSQL store with one fault."""
    async with database_faults() as (url, faults):
        store = PostgresStore(url)
        await store.open()
        try:
            yield Faulty(store, faults[fault])
        finally:
            await store.close()


@asynccontextmanager
async def database_faults() -> AsyncIterator[tuple[str, dict[str, Breakage]]]:
    """A database's address, for a role of its own and through a relay, and what can happen to it.

    Whoever uses it is done before this ends.
    """
    role = f"skills_host_{uuid.uuid4().hex[:12]}"
    async with empty_schema() as url:
        admin = await asyncpg.connect(url)
        schema = url.rpartition("=")[2]
        await admin.execute(f"CREATE ROLE {role} LOGIN")
        await admin.execute(f"GRANT ALL ON SCHEMA {schema} TO {role}")
        relay = Relay()
        await relay.open()
        database = f"{role}@127.0.0.1:{relay.port}{PARTS.path}?search_path={schema}"

        async def ended(setting: str) -> None:
            await admin.execute(f"ALTER ROLE {role} {setting}")
            ends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1"
            await admin.execute(ends, role)

        async def full() -> None:
            await admin.execute(FULL)
            for table in ("records", "probe"):
                await admin.execute(
                    f"CREATE TRIGGER filled BEFORE INSERT OR UPDATE ON skills_host_{table}"
                    " FOR EACH ROW EXECUTE FUNCTION filled()"
                )

        faults = {
            "lost": Breakage("the database cannot be reached", relay.cut, relay.open),
            "full": Breakage(
                "the disk is full",
                full,
                lambda: admin.execute("DROP FUNCTION filled CASCADE"),
            ),
            "read-only": Breakage(
                "the store can only be read",
                lambda: ended("SET default_transaction_read_only = on"),
                lambda: ended("RESET default_transaction_read_only"),
            ),
            "too many": Breakage(
                "the database has too many connections",
                lambda: ended("CONNECTION LIMIT 0"),
                lambda: admin.execute(f"ALTER ROLE {role} CONNECTION LIMIT -1"),
            ),
        }
        try:
            yield f"postgresql://{database}", faults
        finally:
            await relay.cut()
            await admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
            await admin.close()
