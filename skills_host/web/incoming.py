"""A request as the doors see it, and their answer: from ASGI, or from Quart around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

from quart import Response, g, request
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

from skills_host.errors import BadInput

__all__ = ["Answering", "AsgiIncoming", "Incoming", "Outgoing", "QuartIncoming"]


class Incoming(Protocol):
    """A request; `caller` is the app id of who sent it, once that is known."""

    caller: str

    @property
    def method(self) -> str:
        """The method, in capitals."""

    @property
    def raw_path(self) -> bytes:
        """The path as it was sent, without the query."""

    @property
    def query(self) -> bytes:
        """What follows the path."""

    @property
    def address(self) -> str:
        """Where it came from."""

    def header(self, name: str) -> str | None:
        """The first header of this name, which is in lower case."""

    def names(self) -> Iterable[str]:
        """The names of all headers, in lower case."""

    async def body(self) -> bytes:
        """The whole body. Raises `BadInput` (`too-large`, `slow-body`)."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An answer; `chunks` come instead of a body where it is streamed."""

    status: int = 200
    body: bytes = field(default=b"", repr=False)
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: AsyncGenerator[bytes] | None = field(default=None, repr=False)


Answering = Callable[[Incoming], Awaitable[Outgoing]]
"""Answers a request, or raises what is answered for it."""


class AsgiIncoming:
    """A request straight from the server; its body has at most `most` bytes within `seconds`."""

    __slots__ = ("_headers", "_most", "_receive", "_scope", "_seconds", "caller")

    def __init__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        *,
        most: int,
        seconds: float,
    ) -> None:
        self.caller = ""
        self._scope = scope
        self._receive = receive
        self._most = most
        self._seconds = seconds
        # The first of a name counts, as it does with Quart.
        self._headers = dict(reversed(scope["headers"]))

    @property
    def method(self) -> str:
        """The method, in capitals."""
        return str(self._scope["method"])

    @property
    def raw_path(self) -> bytes:
        """The path as it was sent."""
        return bytes(self._scope["raw_path"])

    @property
    def query(self) -> bytes:
        """What follows the path."""
        return bytes(self._scope["query_string"])

    @property
    def address(self) -> str:
        """Where it came from."""
        return str((self._scope.get("client") or ("<local>",))[0])

    def header(self, name: str) -> str | None:
        """The first header of this name."""
        found = self._headers.get(name.encode("latin-1"))
        return None if found is None else found.decode("latin-1")

    def names(self) -> Iterable[str]:
        """The names of all headers."""
        return [name.decode("latin-1") for name in self._headers]

    async def body(self) -> bytes:
        """The whole body."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._whole()
        except TimeoutError:
            raise BadInput(code="slow-body") from None

    async def _whole(self) -> bytes:
        pieces: list[bytes] = []
        size, more = 0, True
        while more:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                # Nobody is there to be answered; what came is not the whole.
                raise BadInput(code="slow-body")
            piece = event.get("body", b"")
            size += len(piece)
            if size > self._most:
                raise BadInput(code="too-large")
            pieces.append(piece)
            more = event.get("more_body", False)
        return b"".join(pieces) if len(pieces) > 1 else bytes(pieces[0])


class QuartIncoming:
    """The request that Quart handles at the moment."""

    @property
    def caller(self) -> str:
        """The app id of who sent it."""
        return str(g.get("caller", ""))

    @caller.setter
    def caller(self, app_id: str) -> None:
        g.caller = app_id

    @property
    def method(self) -> str:
        """The method, in capitals."""
        return request.method

    @property
    def raw_path(self) -> bytes:
        """The path as it was sent."""
        # A server that does not give it has decoded the ids already; twice would make others.
        raw: bytes = request.scope.get("raw_path") or quote(request.path).encode()
        return raw.partition(b"?")[0]

    @property
    def query(self) -> bytes:
        """What follows the path."""
        return request.query_string

    @property
    def address(self) -> str:
        """Where it came from."""
        return request.remote_addr or ""

    def header(self, name: str) -> str | None:
        """The first header of this name."""
        return request.headers.get(name)

    def names(self) -> Iterable[str]:
        """The names of all headers."""
        return [name.lower() for name in request.headers.keys()]

    async def body(self) -> bytes:
        """The whole body."""
        try:
            return await request.get_data(False, False, False)
        except RequestEntityTooLarge:
            raise BadInput(code="too-large") from None
        except RequestTimeout:
            raise BadInput(code="slow-body") from None

    @staticmethod
    def response(answer: Outgoing) -> Response:
        """An answer as Quart sends it."""
        content_type = answer.media_type if answer.body or answer.chunks else None
        response = Response(answer.chunks or answer.body, answer.status, content_type=content_type)
        response.headers.update(answer.headers)
        if answer.chunks is not None:
            # A turn may take longer than the framework gives to the sending of an answer.
            response.timeout = None
        return response
