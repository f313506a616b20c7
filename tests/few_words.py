"""A peer of few words: a server on a loopback socket that says what a test wants to see."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Peer:
    """A server: `answer` writes to the wire whatever a test wants to see."""

    answer: Callable[[Peer, asyncio.StreamWriter], Awaitable[None]]
    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str = "/") -> str:
        """An address on this server."""
        return f"http://127.0.0.1:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: requests, one after the other, until the client leaves."""
        self.connections += 1
        try:
            while True:
                await self._read(reader)
                self.asked.set()
                await self.answer(self, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head)
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                self.requests[-1] += await reader.readexactly(int(line.split(b":")[1]))


async def plain(_: Peer, writer: asyncio.StreamWriter) -> None:
    """A small answer."""
    writer.write(OK)


async def silent(_: Peer, writer: asyncio.StreamWriter) -> None:
    """No answer; the next read sees the client leave."""


def wire(data: bytes) -> Callable[[Peer, asyncio.StreamWriter], Awaitable[None]]:
    """Always these bytes."""

    async def answer(_: Peer, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return answer


def closing(data: bytes) -> Callable[[Peer, asyncio.StreamWriter], Awaitable[None]]:
    """These bytes, and then the end of the connection."""

    async def answer(_: Peer, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        writer.close()

    return answer


Starter = Callable[..., Awaitable[Peer]]


@asynccontextmanager
async def listening() -> AsyncIterator[Starter]:
    """Starts peers; they stop with the context."""
    servers: list[asyncio.Server] = []

    async def started(
        answer: Callable[..., Awaitable[None]] = plain, *, tls: ssl.SSLContext | None = None
    ) -> Peer:
        peer = Peer(answer)
        servers.append(await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=tls))
        peer.port = servers[-1].sockets[0].getsockname()[1]
        return peer

    yield started
    for server in servers:
        server.close()
