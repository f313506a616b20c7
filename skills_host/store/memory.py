"""A store that is forgotten when its host stops: for trials, and only when asked for."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from skills_host.store.sqlite import SqliteStore

__all__ = ["MemoryStore"]

log = logging.getLogger(__name__)


class MemoryStore(SqliteStore):
    """A `Store` of one process, in a folder of its own that is gone when it is closed.

    It is the same database as on disk, so that what works with it works there too.
    """

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        super().__init__("memory.db", now=now)
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    async def open(self) -> None:
        """Begin with nothing; nothing happens if it is open."""
        if self._folder is None:
            log.warning("store.url is memory: all that is stored is forgotten at the next stop")
            self._folder = tempfile.TemporaryDirectory(prefix="skills-host-")
            self._path = Path(self._folder.name) / self._path.name
        await super().open()

    async def close(self) -> None:
        """Forget everything."""
        await super().close()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
