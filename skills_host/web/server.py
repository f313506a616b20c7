"""Serving with hypercorn, or on quicker connections, each answer's head and body in one write.

hypercorn writes the two one after the other. One widely used client (that of the Bot Framework SDK
for Python) closes its connection when it has the head and reads the body only then: it loses what
came in a segment of its own. One write is also cheaper than two.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import hypercorn.asyncio
import hypercorn.asyncio.run
from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config, Sockets
from hypercorn.events import Event, RawData
from hypercorn.utils import wrap_app
from quart import Quart

try:
    from skills_host.web import http11
except ImportError:
    # Without the extra `speed` there is no parser in C.
    http11 = None  # type: ignore[assignment]

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


async def serve_asgi(
    app: Quart, config: Listeners, *, shutdown: Callable[[], Awaitable[Any]], quick: bool = True
) -> None:
    """Serve the application in this event loop until `shutdown` returns, then stop gracefully.

    `quick` serves with the parser in C where that is installed (extra `speed`) and nothing is
    encrypted; otherwise hypercorn does.
    """
    # hypercorn has no setting for the class of its connections.
    hypercorn.asyncio.run.TCPServer = _WholeAnswers  # type: ignore[attr-defined]
    if quick and http11 is not None and not config.ssl_enabled:
        async with _started(app, config) as state:
            await _serve_quickly(app, config, state, shutdown)
    else:
        await hypercorn.asyncio.serve(app, config, shutdown_trigger=shutdown)


@asynccontextmanager
async def _started(app: Quart, config: Config) -> AsyncIterator[dict[str, Any]]:
    """The application between its start and its end, and the state it has for requests."""
    state: dict[str, Any] = {}
    loop = asyncio.get_running_loop()
    wrapped = wrap_app(app, config.wsgi_max_body_size, "asgi")
    lifespan = Lifespan(wrapped, config, loop, state)
    task = loop.create_task(lifespan.handle_lifespan())
    await lifespan.wait_for_startup()
    if task.done():
        # It raises what kept the application from starting.
        task.result()
    try:
        yield state
    finally:
        await lifespan.wait_for_shutdown()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _serve_quickly(
    app: Quart, config: Listeners, state: dict[str, Any], shutdown: Callable[[], Awaitable[Any]]
) -> None:
    loop = asyncio.get_running_loop()
    others: set[asyncio.Task[None]] = set()
    context = WorkerContext(None)

    def take_over(transport: asyncio.Transport, sent: bytes) -> None:
        """Let hypercorn go on with a connection that wants to speak another protocol."""
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        reader.feed_data(sent)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        wrapped = wrap_app(app, config.wsgi_max_body_size, "asgi")
        connection = _WholeAnswers(wrapped, loop, config, context, state, reader, writer)
        task = loop.create_task(connection.run())
        others.add(task)
        task.add_done_callback(others.discard)

    service = http11.Service(
        app,
        head_bytes=config.h11_max_incomplete_size,
        idle_seconds=config.keep_alive_timeout,
        take_over=take_over,
        state=state,
    )
    async with AsyncExitStack() as stack:
        for listener in config.create_sockets().insecure_sockets:
            server = await loop.create_server(
                lambda: http11.Connection(service), sock=listener, backlog=config.backlog
            )
            stack.callback(server.close)
        await shutdown()
    service.stop()
    await context.terminated.set()
    open_yet = {*service.tasks, *others}
    if open_yet:
        await asyncio.wait(open_yet, timeout=config.graceful_timeout)
    service.abort()
    for task in others:
        task.cancel()
