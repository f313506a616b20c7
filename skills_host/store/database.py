"""The SQLite file: made private, in WAL mode, at the newest schema; connections to it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType

from skills_host.errors import SettingsError, StoreFailed

__all__ = [
    "Place",
    "check_schema",
    "connect_for_reading",
    "connect_for_writing",
    "failed",
    "translated",
]

# What an operator has to mend, by SQLite's primary result code.
REASONS = MappingProxyType(
    {
        sqlite3.SQLITE_FULL: "the disk is full",
        sqlite3.SQLITE_READONLY: "the store can only be read",
        sqlite3.SQLITE_IOERR: "the disk fails",
        sqlite3.SQLITE_BUSY: "another process keeps it busy",
        sqlite3.SQLITE_CORRUPT: "the file is damaged",
        sqlite3.SQLITE_NOTADB: "the file is no database",
        sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    }
)


def failed(cause: Exception) -> StoreFailed:
    """The failure that an error of SQLite is, with the reason where an operator can mend it."""
    if isinstance(cause, StoreFailed):
        return cause
    # Extended codes have the primary one in their lowest byte; SQLite's own say so, others do not.
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    found = StoreFailed(REASONS.get(code, ""))
    found.__cause__ = cause
    return found


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise `StoreFailed` for every error of SQLite inside."""
    try:
        yield
    except sqlite3.Error as exc:
        raise failed(exc) from exc


class Place:
    """Where a file was when it was opened: what is written to a removed file is kept by nobody."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found = self._look()

    def check(self) -> None:
        """Raise `StoreFailed` unless the very same file is still there."""
        if self._look() != self._found:
            raise StoreFailed("the file is not where it was")

    def _look(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_dev, found.st_ino


def check_schema(connection: sqlite3.Connection) -> None:
    """Raise `StoreFailed` if a newer version has migrated the file meanwhile."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(_scripts()):
        raise StoreFailed("a newer version of skills-host has migrated it")


def connect_for_writing(path: Path, *, wait: float) -> sqlite3.Connection:
    """A connection to the file, which is made or migrated first; any thread may use it.

    It waits up to `wait` seconds for another process. Raises `SettingsError` naming `store.url`
    where the file cannot be made or was written by a newer version, and what SQLite raises where
    it is no usable database.
    """
    _make_private(path)
    with contextlib.ExitStack() as undo:
        connection = _connected(path, wait=wait)
        undo.callback(connection.close)
        _use_wal(connection, wait=wait)
        _migrate(connection)
        undo.pop_all()
    return connection


def connect_for_reading(path: Path, *, wait: float) -> sqlite3.Connection:
    """A connection to a file that is ready; it cannot write and waits up to `wait` seconds."""
    return _connected(path, wait=wait, pragmas=("query_only = ON",))


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


def _connected(path: Path, *, wait: float, pragmas: Sequence[str] = ()) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=wait, isolation_level=None, check_same_thread=False)
    with contextlib.ExitStack() as undo:
        undo.callback(connection.close)
        for pragma in ("synchronous = FULL", *pragmas):
            connection.execute(f"PRAGMA {pragma}")
        undo.pop_all()
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
    scripts = [script.read_text(encoding="utf-8") for script in _scripts()]
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


def _scripts() -> list[Traversable]:
    """The scripts in order; script n, named by four digits, leads to schema n."""
    folder = resources.files("skills_host.store") / "migrations"
    found = sorted(folder.iterdir(), key=lambda entry: entry.name)
    return [entry for entry in found if entry.name.endswith(".sql")]


def _statements(script: str) -> Iterator[str]:
    """The statements one by one: `executescript` would commit before them."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
