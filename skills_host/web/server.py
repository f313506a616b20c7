"""Serving with hypercorn, each answer's head written together with its body.

hypercorn writes the two one after the other. One widely used client (that of the Bot Framework SDK
for Python) closes its connection when it has the head and reads the body only then: it loses what
came in a segment of its own. One write is also cheaper than two.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import hypercorn.asyncio
import hypercorn.asyncio.run
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config, Sockets
from hypercorn.events import Event, RawData
from quart import Quart

__all__ = ["Listeners", "listening", "serve_asgi"]

# A head that its body follows; interim answers (1xx) must leave at once.
_HEAD = re.compile(rb"HTTP/1\.[01] [2-5]")


class _WholeAnswers(TCPServer):
    """A connection that keeps a head back until what follows it is there."""

    _head = b""

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData) and not self._head and _HEAD.match(event.data):
            self._head = event.data
            return
        head, self._head = self._head, b""
        if isinstance(event, RawData):
            await super().protocol_send(RawData(head + event.data))
            return
        if head:
            await super().protocol_send(RawData(head))
        await super().protocol_send(event)


class Listeners(Config):
    """hypercorn's configuration over sockets and a TLS context that exist already."""

    def __init__(
        self,
        plain: Sequence[socket.socket],
        secure: Sequence[socket.socket] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__()
        self._plain = list(plain)
        self._secure = list(secure)
        self._tls = tls
        # hypercorn closes a connection after 1,000 requests; peers keep few and busy ones.
        self.keep_alive_max_requests = 1_000_000_000
        self.include_server_header = False

    @property
    def ssl_enabled(self) -> bool:
        """True if any socket is for TLS."""
        return bool(self._secure)

    def create_ssl_context(self) -> ssl.SSLContext | None:
        """The context that exists already."""
        return self._tls

    def create_sockets(self) -> Sockets:
        """The sockets that exist already."""
        return Sockets(self._secure, self._plain, [])


def listening(address: str) -> socket.socket:
    """A socket that listens on `HOST:PORT`; port 0 takes a free one. `OSError` if it is taken.

    Clients can connect at once and are answered when it is served. Whoever serves it closes it.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, int(port)), family=family, backlog=256)
    listener.setblocking(False)
    return listener


async def serve_asgi(app: Quart, config: Config, *, shutdown: Callable[[], Awaitable[Any]]) -> None:
    """Serve the application in this event loop until `shutdown` returns, then stop gracefully."""
    # hypercorn has no setting for the class of its connections.
    hypercorn.asyncio.run.TCPServer = _WholeAnswers  # type: ignore[attr-defined]
    await hypercorn.asyncio.serve(app, config, shutdown_trigger=shutdown)
