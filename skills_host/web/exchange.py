"""One request of a connection and its answer, as the ASGI application sees them."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Protocol

__all__ = ["Application", "Exchange", "Wire", "answer_without_body"]

log = logging.getLogger(__name__)

Application = Callable[..., Awaitable[None]]
"""An ASGI application."""

BUFFERED = 64 * 1024  # bytes of a body that wait for the application before no more are read

# What would end a line of the head, and make one answer two.
_BREAKS = re.compile(rb"[\r\n\x00]")
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_BODILESS = frozenset({204, 205, 304})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Wire(Protocol):
    """The connection below an exchange."""

    def write(self, data: bytes) -> None:
        """Send bytes; nothing, if the peer is gone."""

    async def drained(self) -> None:
        """Wait until the peer has taken what was sent, more or less."""

    def more(self) -> None:
        """The body that was read has been taken: read on."""

    def ended(self, exchange: Exchange) -> None:
        """The answer is complete, or never will be (`exchange.is_broken`)."""


class Exchange:
    """A request that is being answered; `scope` is what the application gets to know first.

    `keeps` if the peer wants to keep the connection.
    """

    __slots__ = (
        "_body",
        "_chunked",
        "_complete",
        "_delivered",
        "_gone",
        "_head",
        "_waiter",
        "_wants_continue",
        "_wire",
        "has_ended",
        "is_broken",
        "is_complete",
        "keeps",
        "scope",
    )

    def __init__(
        self, scope: dict[str, Any], wire: Wire, *, keeps: bool, wants_continue: bool
    ) -> None:
        self.scope = scope
        self.keeps = keeps
        self.has_ended = False
        self.is_broken = False
        self.is_complete = False
        self._wire = wire
        self._wants_continue = wants_continue
        self._body = b""
        self._delivered = False
        self._gone = False
        self._head: bytes | None = None
        self._complete = False
        self._chunked = False
        self._waiter: asyncio.Future[None] | None = None

    # What the connection tells

    @property
    def is_full(self) -> bool:
        """True if no more of the body is to be read before some was taken."""
        return len(self._body) > BUFFERED

    def feed(self, data: bytes) -> None:
        """Take a piece of the body; what comes after the answer is nobody's."""
        if not self.has_ended:
            self._body = self._body + data if self._body else data
            self._wake()

    def complete(self) -> None:
        """The body is there."""
        self.is_complete = True
        self._wake()

    def gone(self) -> None:
        """The peer is gone; the application may notice."""
        self._gone = True
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # What the application does

    async def run(self, app: Application) -> None:
        """Let the application answer; what it does not answer is answered 500."""
        try:
            await app(self.scope, self.receive, self.send)
        except Exception as exc:
            log.error("the application failed", exc_info=exc)
        finally:
            if not self.has_ended:
                self._give_up()

    async def receive(self) -> dict[str, Any]:
        """The next piece of the body; then nothing, until the peer is gone."""
        while not (self._body or self._gone or (self.is_complete and not self._delivered)):
            if self._wants_continue and not self.is_complete:
                self._wants_continue = False
                self._wire.write(_CONTINUE)
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._delivered or not (self._body or self.is_complete):
            return {"type": "http.disconnect"}
        body, self._body = self._body, b""
        self._delivered = self.is_complete
        if not self.is_complete:
            self._wire.more()
        return {"type": "http.request", "body": body, "more_body": not self.is_complete}

    async def send(self, message: Mapping[str, Any]) -> None:
        """Take the head, or a piece of the body, of the answer.

        The head leaves with the first of the body: a client of the field's reads only once.
        """
        if self.has_ended:
            return
        if message["type"] == "http.response.start":
            self._begin(message)
        elif message["type"] == "http.response.body":
            self._say(bytes(message.get("body", b"")), last=not message.get("more_body", False))
            if not self.has_ended:
                await self._wire.drained()

    def _begin(self, message: Mapping[str, Any]) -> None:
        if self._head is not None:
            raise RuntimeError("an answer has one head")
        status, headers = int(message["status"]), tuple(message.get("headers", ()))
        names = {bytes(name).lower() for name, _ in headers}
        lines = [b"HTTP/1.1 %d %b" % (status, _REASONS.get(status, b""))]
        lines += [b"%b: %b" % (_clean(name), _clean(value)) for name, value in headers]
        is_bodiless = status in _BODILESS or self.scope["method"] == "HEAD"
        if not is_bodiless and b"content-length" not in names:
            if self.scope["http_version"] == "1.1":
                lines.append(b"transfer-encoding: chunked")
                self._chunked = True
            else:
                self.keeps = False
        if b"date" not in names:
            lines.append(b"date: %b" % formatdate(usegmt=True).encode())
        self.keeps = self.keeps and self.is_complete
        if not self.keeps:
            lines.append(b"connection: close")
        self._complete = is_bodiless
        self._head = b"\r\n".join(lines) + b"\r\n\r\n"

    def _say(self, data: bytes, *, last: bool) -> None:
        if self._head is None:
            raise RuntimeError("an answer begins with its head")
        if self._complete:
            data = b""
        elif self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            data += b"0\r\n\r\n" if last else b""
        if data or last:
            self._wire.write(self._head + data)
            self._head = b""
        if last:
            self._end()

    def _give_up(self) -> None:
        if self._head:
            # Nothing has left yet: the head that was meant is not what happened.
            self._head = None
        if self._head is None:
            self.keeps = False
            self._wire.write(answer_without_body(HTTPStatus.INTERNAL_SERVER_ERROR))
        else:
            self.is_broken = True
        self._end()

    def _end(self) -> None:
        self.has_ended = True
        self._body = b""
        self._wire.ended(self)


def answer_without_body(status: HTTPStatus) -> bytes:
    """A whole answer after which the connection is closed."""
    return b"HTTP/1.1 %d %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % (
        status.value,
        status.phrase.encode(),
    )


def _clean(part: bytes) -> bytes:
    if _BREAKS.search(part):
        raise ValueError("a header of the answer has a line break")
    return bytes(part)
