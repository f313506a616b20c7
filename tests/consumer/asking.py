"""What skills ask of the root's skill host, and what the channel gets to see of it."""

from __future__ import annotations

import json
from typing import Any

from skills_host.transport import Request, Response
from tests.world import CONSOLE, ROOT, Town

__all__ = ["BASE", "HELLO", "answered", "asked", "at_channel", "sent_as"]

HELLO = {"type": "message", "text": "hello"}
BASE = f"{ROOT}/api/skills"


def at_channel(town: Town, answer: Response | None = None) -> list[Request]:
    """What the channel gets from now on, which answers so, or as it does otherwise."""
    got: list[Request] = []

    def channel(request: Request) -> Response | None:
        got.append(request)
        return answer

    town.send.faults[CONSOLE] = channel
    return got


async def asked(
    town: Town, method: str, path: str, body: Any = None, *, skill: str = "echo", base: str = BASE
) -> Response:
    """The answer to a skill that asks for `path` below the base; `body` is JSON or bytes."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    return await town.send(Request(method, f"{base}{path}", town.bearer(skill), data, 20))


async def answered(
    town: Town,
    method: str,
    path: str,
    activity: dict[str, Any] | None = None,
    *,
    skill: str = "echo",
) -> tuple[int, dict[str, Any]]:
    """Status and body of the answer to a skill; `{}` in the path is its conversation."""
    below = f"/v3/conversations{path.format(town.handle(skill))}"
    answer = await asked(town, method, below, activity, skill=skill)
    return answer.status, json.loads(answer.body) if answer.body else {}


async def sent_as(town: Town, activity_id: str) -> None:
    """The echo skill says something, and the channel gives it this id."""
    at_channel(town, Response(200, {}, json.dumps({"id": activity_id}).encode()))
    assert await answered(town, "POST", "/{}/activities", HELLO) == (200, {"id": activity_id})
    town.send.faults.clear()
