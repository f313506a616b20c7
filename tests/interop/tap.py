"""A tap on the wire between roots and skills: passes everything on, and remembers it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from quart import Quart, Response, request

from skills_host.transport import Request, Send

__all__ = ["Exchange", "Tap", "create_tap"]

WAIT_SECONDS = 20.0
HOP_BY_HOP = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request that went to the bot named `to`, and its answer; without the token."""

    to: str
    method: str
    path: str
    status: int
    headers: Mapping[str, str] = field(repr=False)
    request: bytes = field(repr=False)
    answer: bytes = field(repr=False)

    @property
    def sent(self) -> dict[str, Any]:
        """The request's body as JSON."""
        return _json(self.request)

    @property
    def answered(self) -> dict[str, Any]:
        """The answer's body as JSON."""
        return _json(self.answer)

    @property
    def ids(self) -> list[str]:
        """The ids in a Connector path: the conversation's, then the activity's if there is one."""
        return [unquote(part) for part in self.path.partition("/conversations/")[2].split("/")[::2]]


class Tap:
    """Stands at `url/NAME` for the bot NAME, once `targets` says where that is."""

    def __init__(self, url: str, *, send: Send) -> None:
        self._url = url
        self._send = send
        self.targets: dict[str, str] = {}
        self._exchanges: list[Exchange] = []
        self._arrived = asyncio.Condition()

    def url(self, name: str) -> str:
        """The address that stands for a bot."""
        return f"{self._url}/{name}"

    def sent(self, to: str, about: str) -> list[Exchange]:
        """What went to a bot and names the conversation `about`, oldest first."""
        return [one for one in self._exchanges if one.to == to and about.encode() in one.request]

    async def next(
        self, matches: Callable[[Exchange], bool], *, after: Exchange | None = None
    ) -> Exchange:
        """The first exchange (after one of them) that matches, past or to come."""
        first = self._exchanges.index(after) + 1 if after else 0
        async with asyncio.timeout(WAIT_SECONDS), self._arrived:
            await self._arrived.wait_for(lambda: any(map(matches, self._exchanges[first:])))
            return next(filter(matches, self._exchanges[first:]))

    async def passed(
        self, method: str, raw_path: str, headers: Mapping[str, str], body: bytes
    ) -> Response:
        """Pass one request on, and its answer back."""
        _, to, below = raw_path.split("/", 2)
        kept = {name: value for name, value in headers.items() if name not in HOP_BY_HOP}
        url = f"{self.targets[to]}/{below}"
        answer = await self._send(Request(method, url, kept, body or None, 60))
        kept.pop("authorization", None)
        async with self._arrived:
            self._exchanges.append(
                Exchange(to, method, f"/{below}", answer.status, kept, body, answer.body)
            )
            self._arrived.notify_all()
        return Response(answer.body, answer.status, content_type=answer.headers.get("content-type"))


def create_tap(tap: Tap) -> Quart:
    """The tap as an ASGI app."""
    app = Quart(__name__)
    app.url_map.merge_slashes = False

    @app.route("/<path:_path>", methods=["GET", "POST", "PUT", "DELETE"])
    async def passed(_path: str) -> Response:
        return await tap.passed(
            request.method,
            request.scope["raw_path"].decode("latin-1"),
            {name.lower(): value for name, value in request.headers.items()},
            await request.get_data(cache=True, as_text=False, parse_form_data=False),
        )

    return app


def _json(body: bytes) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(body or b"{}")
    return parsed
