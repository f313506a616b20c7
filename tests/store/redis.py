"""A real Redis for tests, and a way to cut the line to it."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

__all__ = ["REDIS", "Line", "line_to_redis", "own_prefix"]

REDIS = os.environ.get("SKILLS_HOST_TEST_REDIS", "redis://127.0.0.1:6379/0")


@asynccontextmanager
async def own_prefix() -> AsyncIterator[str]:
    """A prefix of its own in a real server; what is kept below it is removed after the test."""
    prefix = f"test-{uuid.uuid4().hex}"
    client = Redis.from_url(REDIS)
    try:
        await client.ping()
    except (OSError, RedisError) as exc:
        await client.aclose()
        pytest.skip(f"no Redis at 127.0.0.1:6379 ({type(exc).__name__})")
    yield prefix
    async for key in client.scan_iter(f"{prefix}:*"):
        await client.delete(key)
    await client.aclose()


class Line:
    """A TCP line to Redis on a port of its own, which can be cut and mended."""

    def __init__(self) -> None:
        self._port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._goes = True

    @property
    def url(self) -> str:
        """The address at this end of the line."""
        return f"redis://127.0.0.1:{self._port}/0"

    async def mend(self) -> None:
        """Pass everything on from now on; on the port of the first time."""
        self._goes = True
        if self._server is None:
            self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Break off what is connected, and refuse what comes."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()

    def swallow(self) -> None:
        """Pass nothing on, and say nothing about it."""
        self._goes = False

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(REDIS)
        back, forth = await asyncio.open_connection(parts.hostname, parts.port or 6379)
        both = {writer, forth}
        self._writers |= both
        try:
            await asyncio.gather(self._copy(reader, forth), self._copy(back, writer))
        finally:
            self._writers -= both

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if self._goes:
                    writer.write(data)
                    await writer.drain()
        writer.close()


@asynccontextmanager
async def line_to_redis() -> AsyncIterator[Line]:
    """A line that passes everything on."""
    line = Line()
    await line.mend()
    yield line
    await line.cut()
    # What it passed on has ended when the connections are closed.
    while line._writers:  # noqa: ASYNC110 - what is looked at has no event
        await asyncio.sleep(0.01)
