"""HTTP/1.1 connections on a parser in C: what a busy host would else spend most of its time on.

A connection reads requests with llhttp and has the ASGI application answer each, one after the
other. What is bounded: a head in bytes and in time, what waits of a body, what is sent around it.
Where a peer wants another protocol, hypercorn takes the connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import httptools

from skills_host.web.exchange import Application, Exchange, answer_without_body

__all__ = ["Connection", "Service"]

log = logging.getLogger(__name__)

AROUND = 64 * 1024  # bytes around a body in chunks, beside eight for each of its own
LAST = 60.0  # seconds in which a peer has to take what was sent to it last
LINGER = 1.0  # the same, while it still speaks

TakeOver = Callable[[asyncio.Transport, bytes], None]
"""Goes on with a connection that has sent these bytes so far."""


@dataclass(slots=True)
class Service:
    """What all connections of a server share. A head has at most `head_bytes`.

    It has to come within `idle_seconds`, in which a connection without a request is closed too.
    """

    app: Application
    head_bytes: int
    idle_seconds: float
    take_over: TakeOver
    state: dict[str, Any] = field(default_factory=dict)
    connections: set[Connection] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    is_stopping: bool = False

    def start(self, exchange: Exchange) -> None:
        """Have the application answer."""
        task = asyncio.get_running_loop().create_task(exchange.run(self.app))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def stop(self) -> None:
        """Close what waits for a request; the others close with their answer."""
        self.is_stopping = True
        for connection in tuple(self.connections):
            connection.close_if_idle()

    def abort(self) -> None:
        """End everything that is still open."""
        for task in tuple(self.tasks):
            task.cancel()
        for connection in tuple(self.connections):
            connection.abort()


class _Refused(Exception):
    """What a peer sent is no request that can be answered."""


class Connection(asyncio.Protocol):
    """One connection of a client; the parser calls its `on_…` methods."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._addresses: dict[str, Any] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._idle_since: float | None = None
        self._is_closing = self._is_deaf = False
        self._writable: asyncio.Future[None] | None = None
        # The request that is answered, those behind it, and the one whose body is read.
        self._current: Exchange | None = None
        self._behind: deque[Exchange] = deque()
        self._read: Exchange | None = None
        self._refusal = HTTPStatus.BAD_REQUEST
        self._in_head = False
        self._has_read = False
        self._other: Exchange | None = None
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = self._body_bytes = self._around_bytes = 0

    # The transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there: it has to send a head soon."""
        self._transport = transport  # type: ignore[assignment] # a stream's, always
        self._service.connections.add(self)
        for name, info in (("client", "peername"), ("server", "sockname")):
            address = transport.get_extra_info(info)
            self._addresses[name] = tuple(address[:2]) if isinstance(address, tuple) else None
        self._be_idle()
        self._timer = self._loop.call_later(self._service.idle_seconds, self._look)
        if self._service.is_stopping:
            self._close()

    def data_received(self, data: bytes) -> None:
        """Bytes of a client; what they call for is begun at once."""
        if self._is_closing or self._is_deaf:
            return
        was_in_head, read = self._in_head, self._read
        self._has_read = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._upgrade(data[exc.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(self._refusal)
            return
        # What grows inside the parser, nobody else sees.
        if self._in_head and (was_in_head or not self._has_read):
            self._head_bytes += len(data)
            if self._head_bytes > self._service.head_bytes:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self._read is not None and read is self._read:
            self._around_bytes += len(data)
            if self._around_bytes > AROUND + 8 * self._body_bytes:
                self._refuse(HTTPStatus.BAD_REQUEST)

    def eof_received(self) -> bool:
        """A client that says nothing more has hung up, or may still read its answer."""
        if self._current is None or self._read is not None or self._in_head:
            return False
        self._last.keeps = False
        self._current.gone()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: whoever answers it may notice."""
        self._is_closing = True
        self._transport = None
        self._service.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._current is not None:
            self._current.gone()
        self._behind.clear()
        self.resume_writing()

    def pause_writing(self) -> None:
        """The client reads slower than it is answered."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """It has caught up."""
        writable, self._writable = self._writable, None
        if writable is not None:
            writable.set_result(None)

    # The parser's calls

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = True
        self._url, self._headers = b"", []
        self._head_bytes = self._body_bytes = self._around_bytes = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._url += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which nobody asked for."""
        self._headers.append((name.lower(), value))
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        """A head is there: have it answered, or wait in line."""
        self._in_head = False
        exchange = self._read = self._exchange()
        self._idle_since = None
        if self._parser.should_upgrade():
            exchange.keeps = False
            if self._is_for_another:
                # The parser stops here, and says so.
                self._other = exchange
                return
        if self._current is None:
            self._begin(exchange)
        else:
            self._behind.append(exchange)
            self._pause()

    def on_body(self, data: bytes) -> None:
        """A piece of a body."""
        if self._read is not None:
            self._body_bytes += len(data)
            self._read.feed(data)
            if self._read.is_full:
                self._pause()

    def on_message_complete(self) -> None:
        """A request is there wholly."""
        read, self._read = self._read, None
        self._has_read = True
        if read is not None:
            read.complete()

    # The exchange's calls

    def write(self, data: bytes) -> None:
        """Send bytes; nothing, if the client is gone."""
        if self._transport is not None and not self._is_closing:
            self._transport.write(data)

    async def drained(self) -> None:
        """Wait for a client that reads slowly."""
        if self._writable is not None:
            await self._writable

    def more(self) -> None:
        """Read on."""
        if self._transport is not None and not self._behind:
            self._transport.resume_reading()

    def ended(self, exchange: Exchange) -> None:
        """An answer has left; the next request is answered, or waited for."""
        self._current = None
        if exchange.is_broken:
            self.abort()
        elif not exchange.keeps or not exchange.is_complete or self._service.is_stopping:
            self._close()
        elif self._behind:
            self._begin(self._behind.popleft())
            self.more()
        else:
            self._be_idle()

    def close_if_idle(self) -> None:
        """Close, unless a request is being answered."""
        if self._current is None:
            self._close()

    # What it does by itself

    @property
    def _last(self) -> Exchange:
        """The last request that is, or will be, answered."""
        last = self._behind[-1] if self._behind else self._current
        assert last is not None  # noqa: S101 - for the type checker
        return last

    @property
    def _is_for_another(self) -> bool:
        """True for a request that asks for WebSocket."""
        return self._current is None and (b"upgrade", b"websocket") in (
            (name, value.lower()) for name, value in self._headers
        )

    def _begin(self, exchange: Exchange) -> None:
        self._current = exchange
        self._service.start(exchange)

    def _exchange(self) -> Exchange:
        version, headers = self._parser.get_http_version(), self._headers
        hosts = sum([name == b"host" for name, _ in headers])
        if version not in ("1.0", "1.1") or hosts > 1 or (version == "1.1" and not hosts):
            raise _Refused
        path, _, query = self._url.partition(b"?")
        if not path.isascii():
            raise _Refused
        scope = {
            "type": "http",
            "http_version": version,
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "method": self._parser.get_method().decode("ascii"),
            "scheme": "http",
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": headers,
            "state": self._service.state.copy(),
            "extensions": {},
            **self._addresses,
        }
        return Exchange(
            scope,
            self,
            keeps=self._parser.should_keep_alive(),
            wants_continue=any([name == b"expect" for name, _ in headers]),
        )

    def _count(self, size: int) -> None:
        if not self._in_head:
            # A trailer: nothing here reads one, and it may not be what it looks like.
            raise _Refused
        self._head_bytes += size
        if self._head_bytes > self._service.head_bytes:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise _Refused

    def _upgrade(self, rest: bytes) -> None:
        """The parser has stopped: another protocol begins, or is not spoken here."""
        if self._transport is None or self._other is None:
            return
        method, target = self._other.scope["method"].encode(), self._url
        lines = [b"%b %b HTTP/1.1" % (method, target)]
        lines += [b"%b: %b" % header for header in self._headers]
        transport, self._transport = self._transport, None
        self.connection_lost(None)
        self._service.take_over(transport, b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    def _refuse(self, status: HTTPStatus) -> None:
        """End a connection on which nothing can be understood any more."""
        if self._current is None:
            self.write(answer_without_body(status))
            self._close()
        elif self._read is not None:
            # Words of ours would be taken for the answer to what can still be answered.
            self.abort()
        else:
            self._is_deaf = True
            self._last.keeps = False

    def _be_idle(self) -> None:
        self._idle_since = self._loop.time()

    def _look(self) -> None:
        """Close what is idle for too long; one timer serves a connection's whole life."""
        seconds = self._service.idle_seconds
        if self._idle_since is not None:
            seconds = self._idle_since + seconds - self._loop.time()
            if seconds <= 0:
                self._close()
                return
        self._timer = self._loop.call_later(seconds, self._look)

    def _pause(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def _close(self) -> None:
        """Close when all is sent; a client that still speaks is not listened to."""
        if self._transport is None or self._is_closing:
            return
        self._is_closing = True
        is_speaking = self._read is not None or self._in_head
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(LINGER if is_speaking else LAST, self.abort)
        if not is_speaking:
            self._transport.close()
            return
        # Closed with bytes unread, a connection is reset, and our last words with it.
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once, whatever was not sent."""
        if self._transport is not None:
            self._transport.abort()
