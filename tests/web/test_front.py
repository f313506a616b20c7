"""What is answered before Quart is asked: the same, and nothing that is somebody else's."""

from __future__ import annotations

from typing import Any

from quart import Response

from skills_host.transport import Request
from tests.web.doors import door_of, error_of
from tests.world import ROOT, Town


def quart_asked(town: Town) -> list[str]:
    """The paths that Quart is asked for from now on."""
    app: Any = town.send.apps[ROOT]
    front = app.asgi_app
    asked: list[str] = []
    behind = front._behind

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        await behind(scope, receive, send)

    front._behind = watched
    return asked


async def test_ordinary_turn_does_not_ask_quart(town: Town) -> None:
    """Neither for what the user says nor for what the skill answers."""
    asked = quart_asked(town)
    await town.say("echo")
    await town.send(Request("GET", f"{ROOT}/healthz"))
    await town.say("hello")

    assert town.said()[-1].endswith("hello")
    assert asked == ["/healthz"]


async def test_what_is_out_of_the_ordinary_is_asked_of_quart(town: Town) -> None:
    """Another method, another spelling, another address."""
    door = await door_of(town, "messages")
    asked = quart_asked(town)
    await door.knock(method="GET")
    door.path = "/api/messages/"
    await door.knock()
    await town.send(Request("POST", f"{ROOT}/healthz"))

    assert asked == ["/api/messages", "/api/messages/", "/healthz"]


async def test_hooks_of_the_application_see_every_request(town: Town) -> None:
    """Whoever serves the application may have something to say about each."""
    door = await door_of(town, "messages")
    app: Any = town.send.apps[ROOT]

    async def refuse() -> Response:
        return Response(b"closed for today", 503)

    app.before_request(refuse)
    assert (await door.knock()).body == b"closed for today"


async def test_mounted_application_is_found(town: Town) -> None:
    """Below another application's path, Quart knows what the path means."""
    door = await door_of(town, "messages")
    app: Any = town.send.apps[ROOT]
    asked = quart_asked(town)
    behind = app.asgi_app

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await behind({**scope, "root_path": "/bot", "path": f"/bot{scope['path']}"}, receive, send)

    app.asgi_app = mounted

    assert (await door.knock()).status == 200
    assert asked[0] == "/bot/api/messages"
    assert all(path.startswith("/bot/") for path in asked)


async def test_both_ways_refuse_alike(town: Town) -> None:
    """Status, body and headers of a refusal do not tell who gave it."""
    door = await door_of(town, "skill host")
    first = await door.knock(without=["Authorization"])
    app: Any = town.send.apps[ROOT]
    app.after_request_funcs[None].append(_unchanged)
    second = await door.knock(without=["Authorization"])

    (status, error), (other_status, other) = error_of(first), error_of(second)
    assert (status, error["code"]) == (other_status, other["code"]) == (401, "no-header")
    assert first.headers == second.headers


async def _unchanged(response: Response) -> Response:
    return response
