"""Connections to peers on a parser in C, for the extra `speed`: what aiohttp does in less CPU.

A connection carries one request at a time and is kept for the next. What is bounded: the answer's
body, what is sent around it, the connections in use, and the time until one is there.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

import aiohappyeyeballs
import httptools

from skills_host.errors import TransportFailed

__all__ = ["Answer", "Connections"]

AROUND = 64 * 1024  # bytes of an answer beside its body, and eight for each of that
EYEBALLS = 0.25  # seconds until the next address of a name is tried beside the one before it
NAMED = 60.0  # seconds for which the addresses of a name are remembered
PORTS = {"http": 80, "https": 443}
OURS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "skills-host"}

# What would end a line of the head, and make one request two.
_BREAKS = re.compile(r"[\r\n\x00]")

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers by their names in lower case, and body."""

Place = tuple[str, str]
"""Scheme, and host with port as they are in the address."""


class _Refused(Exception):
    """What a peer sent is no answer that is taken."""


class _Connection(asyncio.Protocol):
    """One connection to a peer; the parser calls its `on_…` methods."""

    def __init__(self, answer_bytes: int) -> None:
        self.idle_since = 0.0
        self.has_heard = False
        self._most = answer_bytes
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._code = "unreachable"
        self._keeps = True
        self._begin()

    def _begin(self) -> None:
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._received = 0

    # What the pool does

    async def ask(self, request: bytes) -> Answer:
        """Send a request; its answer. Raises `TransportFailed`."""
        transport = self._transport
        if transport is None:
            raise TransportFailed
        self.has_heard = False
        self._answer = asyncio.get_running_loop().create_future()
        transport.write(request)
        try:
            return await self._answer
        finally:
            self._answer = None

    @property
    def is_usable(self) -> bool:
        """True if another request can be sent."""
        transport = self._transport
        if transport is None or not self._keeps or transport.is_closing():
            return False
        return transport.get_write_buffer_size() == 0

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    # The transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The peer is there."""
        self._transport = transport  # type: ignore[assignment] # a stream's, always

    def data_received(self, data: bytes) -> None:
        """A piece of the answer; what nobody asked for ends the connection."""
        if self._answer is None:
            self._keeps = False
            self.abort()
            return
        self.has_heard = True
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(self._code)
            return
        # What grows inside the parser, nobody else sees.
        if self._received > AROUND + 9 * len(self._body):
            self._fail("answer-too-large")

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone; an answer without a length ends so."""
        self._transport = None
        self._keeps = False
        if exc is None and self._status and not self._is_measured:
            self._succeed()
        else:
            self._fail("unreachable")

    # The parser's calls

    def on_message_begin(self) -> None:
        """An answer begins; after a second one to a request, nobody knows what comes next."""
        self._keeps = self._is_waiting

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        self._headers[name.decode("latin-1").lower()] = value.decode("utf-8", "surrogateescape")

    def on_headers_complete(self) -> None:
        """A head is there; an interim one is not the answer's."""
        status = self._parser.get_status_code()
        if status < 200:
            return
        self._status = status
        length = self._headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._most:
            self._too_large()

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._body += data
        if len(self._body) > self._most:
            self._too_large()

    def on_message_complete(self) -> None:
        """An answer is there wholly."""
        if self._status:
            self._keeps = self._keeps and self._parser.should_keep_alive()
            self._succeed()
        else:
            self._begin()

    @property
    def _is_measured(self) -> bool:
        """True for an answer that says where it ends."""
        headers = self._headers
        return "content-length" in headers or "transfer-encoding" in headers

    def _too_large(self) -> None:
        self._code = "answer-too-large"
        raise _Refused

    @property
    def _is_waiting(self) -> bool:
        return self._answer is not None and not self._answer.done()

    def _succeed(self) -> None:
        answer = self._status, self._headers, bytes(self._body)
        self._begin()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    def _fail(self, code: str) -> None:
        self._keeps = False
        self.abort()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(TransportFailed("a peer broke off", code=code))


class Connections:
    """Connections to any peers, at most `most` in use at once; belongs to one event loop.

    One that was `idle` for so many seconds is closed. `connect` is how many seconds it takes at
    most until one is there; an answer has at most `answer_bytes`.
    """

    def __init__(self, *, most: int, idle: float, connect: float, answer_bytes: int) -> None:
        self._seconds = idle
        self._connect = connect
        self._answer_bytes = answer_bytes
        self._free = asyncio.Semaphore(most)
        self._idle: dict[Place, list[_Connection]] = {}
        self._used: set[_Connection] = set()
        self._names: dict[Place, tuple[float, list[Any]]] = {}
        self._tls: ssl.SSLContext | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        seconds: float,
    ) -> Answer:
        """Send a request, not a HEAD, and read the answer, all of it in so many `seconds`.

        Only a GET is sent again, where a connection that was idle turns out to be closed. Raises
        `TransportFailed`.
        """
        place, request = _written(method, url, headers, body)
        try:
            async with asyncio.timeout(seconds), self._free:
                while True:
                    connection, is_new = await self._connection(place)
                    try:
                        return await self._asked(connection, request, place)
                    except TransportFailed:
                        is_stale = not is_new and not connection.has_heard
                        if not is_stale or method != "GET":
                            raise
        except TimeoutError:
            raise TransportFailed(code="deadline") from None

    def close(self) -> None:
        """Close all; requests still open fail."""
        if self._timer is not None:
            self._timer.cancel()
        for kept in self._idle.values():
            self._used.update(kept)
        self._idle.clear()
        for connection in tuple(self._used):
            connection.abort()

    async def _asked(self, connection: _Connection, request: bytes, place: Place) -> Answer:
        self._used.add(connection)
        try:
            answer = await connection.ask(request)
        except BaseException:
            connection.abort()
            raise
        finally:
            self._used.discard(connection)
        if connection.is_usable:
            self._keep(connection, place)
        else:
            connection.abort()
        return answer

    async def _connection(self, place: Place) -> tuple[_Connection, bool]:
        """A connection, and whether it is new."""
        kept = self._idle.get(place)
        oldest = asyncio.get_running_loop().time() - self._seconds
        while kept:
            connection = kept.pop()
            if connection.is_usable and connection.idle_since > oldest:
                return connection, False
            connection.abort()
        try:
            async with asyncio.timeout(self._connect):
                return await self._made(place), True
        except (OSError, ValueError) as exc:
            self._names.pop(place, None)
            raise TransportFailed(sent=False) from exc

    async def _made(self, place: Place) -> _Connection:
        loop = asyncio.get_running_loop()
        parts = SplitResult(*place, "", "", "")
        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
        tls = self._context() if parts.scheme == "https" else None
        found = await self._addresses(place, host, port)
        made = await aiohappyeyeballs.start_connection(
            found, happy_eyeballs_delay=EYEBALLS, interleave=1
        )
        try:
            _, connection = await loop.create_connection(
                lambda: _Connection(self._answer_bytes),
                sock=made,
                ssl=tls,
                server_hostname=host if tls else None,
            )
        except BaseException:
            made.close()
            raise
        return connection

    async def _addresses(self, place: Place, host: str, port: int) -> list[Any]:
        loop = asyncio.get_running_loop()
        self._names = {name: known for name, known in self._names.items() if known[0] > loop.time()}
        if place not in self._names:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            self._names[place] = loop.time() + NAMED, found
        return self._names[place][1]

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(("http/1.1",))
        return self._tls

    def _keep(self, connection: _Connection, place: Place) -> None:
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.setdefault(place, []).append(connection)
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._drop_idle)

    def _drop_idle(self) -> None:
        """Close what was idle for too long; looked at again while there is anything."""
        loop = asyncio.get_running_loop()
        oldest = loop.time() - self._seconds
        for place, kept in tuple(self._idle.items()):
            for connection in kept:
                if connection.idle_since <= oldest:
                    connection.abort()
            self._idle[place] = [one for one in kept if one.idle_since > oldest]
            if not self._idle[place]:
                del self._idle[place]
        self._timer = None
        if self._idle:
            self._timer = loop.call_later(self._seconds / 2, self._drop_idle)


def _written(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None
) -> tuple[Place, bytes]:
    """Where a request goes, and its bytes. Raises `TransportFailed` for what cannot be sent."""
    given = {name.lower() for name in headers}
    try:
        parts = urlsplit(url)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"{name}: {value}" for name, value in OURS.items() if name.lower() not in given]
        if body is not None or method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(body or b'')}")
        if _BREAKS.search("".join(lines)):
            raise TransportFailed("a header has a line break", sent=False)
        head = "\r\n".join(lines).encode()
    except ValueError:
        raise TransportFailed("it cannot be in a request", sent=False) from None
    return (parts.scheme, parts.netloc), head + b"\r\n\r\n" + (body or b"")
