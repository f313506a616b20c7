"""The doors of a running root, and what one has to bring to each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from skills_host.transport import Request, Response
from tests.world import ROOT, Exchange, Town

__all__ = ["DOORS", "Door", "door_of"]

DOORS = {
    "messages": "/api/messages",
    "own messages": "/bots/root/api/messages",
    "skill host": "/api/skills/v3/conversations/{}/activities",
    "own skill host": "/bots/root/api/skills/v3/conversations/{}/activities",
}


@dataclass
class Door:
    """One address of the root, a caller that it lets in, and an activity that it takes."""

    town: Town
    path: str
    headers: dict[str, str] = field(repr=False)
    activity: dict[str, Any]

    async def knock(
        self,
        body: bytes | None = None,
        *,
        method: str = "POST",
        without: Sequence[str] = (),
        pieces: Sequence[bytes] | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
        **more: str,
    ) -> Response:
        """A request with a good token and a good body, but for what is said."""
        given = {k: v for k, v in self.headers.items() if k not in without}
        given |= headers
        given |= {name.replace("_", "-"): value for name, value in more.items()}
        sent = json.dumps(self.activity).encode() if body is None else body
        request = Request(method, f"{ROOT}{self.path}", given, sent)
        if pieces is None:
            return await self.town.send(request)
        exchange = Exchange(request, pieces=pieces)
        app: Any = self.town.send.apps[ROOT]
        async with asyncio.timeout(10):
            await app(exchange.scope, exchange.receive, exchange.send)
        return exchange.response()

    async def with_members(self, **members: Any) -> Response:
        """A request whose activity differs; None leaves a member out."""
        changed = {k: v for k, v in (self.activity | members).items() if v is not None}
        return await self.knock(json.dumps(changed).encode())

    def done(self) -> Any:
        """Everything that a request can have done."""
        calls = [r.url for r in self.town.send.sent if not r.url.startswith(ROOT)]
        kinds = ("inbound", "session", "handle", "state")
        return self.town.said(), calls, {kind: self.town.records(kind) for kind in kinds}


async def door_of(town: Town, name: str) -> Door:
    """The named door of a town where Ann talks to the echo skill."""
    await town.say("echo")
    path = DOORS[name].format(town.handle("echo"))
    if "skill" in name:
        return Door(town, path, town.bearer("echo"), {"type": "message", "text": "again"})
    activity = town.console.activity("again", user="ann", conversation="c1")
    return Door(town, path, town.channel_bearer(), activity)


def error_of(answer: Response) -> tuple[int, Mapping[str, Any]]:
    """Status and error of an answer in the one error body."""
    document = json.loads(answer.body)
    assert set(document) == {"error"}, document
    return answer.status, document["error"]
