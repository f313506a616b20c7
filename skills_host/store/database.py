"""The SQLite file: made private, in WAL mode, at the newest schema; connections to it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

from skills_host.errors import SettingsError, StoreFailed

__all__ = ["connect_for_reading", "connect_for_writing", "translated"]


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise `StoreFailed` for every error of SQLite inside."""
    try:
        yield
    except sqlite3.Error as exc:
        raise StoreFailed from exc


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
