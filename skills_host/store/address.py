"""Which store an address means, and the address as it may be shown."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlsplit

from skills_host.errors import SettingsError
from skills_host.store.memory import MemoryStore
from skills_host.store.records import Store
from skills_host.store.sqlite import SqliteStore

__all__ = ["MEMORY", "shared_store", "shown_url", "store_from_url"]

MEMORY = "memory:"
POSTGRES = ("postgresql", "postgresql+asyncpg")
SQLITE = "sqlite:///"


def store_from_url(url: str, *, now: Callable[[], float] = time.time) -> Store:
    """The store for an address, not yet open.

    `sqlite:///relative.db`, `sqlite:////absolute.db` (the path is taken as it is written), or
    `postgresql://USER:PASSWORD@HOST/DATABASE`, which may be written `postgresql+asyncpg://` too;
    `memory:` where nothing is to be kept.
    `now` gives seconds since the epoch and runs on any thread. `SettingsError` names `store.url`.
    """
    if url == MEMORY:
        return MemoryStore(now=now)
    scheme, _, rest = url.partition("://")
    if scheme in POSTGRES:
        # Whoever keeps a file need not carry the client of a server.
        from skills_host.store.postgres import PostgresStore

        return PostgresStore(f"postgresql://{rest}", now=now)
    path = url.removeprefix(SQLITE)
    if path == url:
        raise SettingsError("store.url: expected sqlite:///PATH, postgresql://… or memory:")
    if not path or path.endswith("/") or path == ":memory:" or set(path) & set("?#\0"):
        raise SettingsError("store.url: expected the path of a file after sqlite:///")
    return SqliteStore(path, now=now)


def shared_store(url: str) -> Store:
    """The store that other processes with this address see too. Raises `SettingsError`."""
    if url == MEMORY:
        raise SettingsError("store.url: what is in memory only its host can see")
    return store_from_url(url)


def shown_url(url: str) -> str:
    """The address without what may be secret in it: user, password and options."""
    if url == MEMORY or url.startswith(SQLITE):
        return url
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
