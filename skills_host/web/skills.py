"""`/api/skills/v3/conversations/…`: the Connector REST API that a root offers its skills.

Ids are opaque: they are taken from the raw path, where an encoded slash is still encoded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from quart import Blueprint, Response, request

from skills_host.activity import ID_CHARACTERS
from skills_host.auth.claims import Identity
from skills_host.auth.verify import Door
from skills_host.consumer.host import SkillHost
from skills_host.errors import BadInput, NotOffered, SkillsHostError
from skills_host.web.guard import Guard, WrongMethod, json_response
from skills_host.wire import encode

__all__ = ["Operation", "operation_at", "skill_host"]

BASE = "/api/skills"
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"]

# (what follows v3/conversations, with {} for an id) → {method: operation}. A fixed word comes
# before an id in the same place.
ROUTES: dict[tuple[str, ...], dict[str, str]] = {
    (): {"GET": "list", "POST": "create"},
    ("{}", "activities"): {"POST": "send"},
    ("{}", "activities", "history"): {"POST": "history"},
    ("{}", "activities", "{}"): {"POST": "reply", "PUT": "update", "DELETE": "delete"},
    ("{}", "activities", "{}", "members"): {"GET": "activity-members"},
    ("{}", "members"): {"GET": "members"},
    ("{}", "members", "{}"): {"GET": "member", "DELETE": "delete-member"},
    ("{}", "pagedmembers"): {"GET": "paged-members"},
    ("{}", "attachments"): {"POST": "upload"},
}
WITH_BODY = frozenset({"send", "reply", "update", "history", "upload", "create"})


@dataclass(frozen=True, slots=True)
class Operation:
    """What a skill asks for: the operation's name and the ids of its route, decoded."""

    name: str
    ids: tuple[str, ...] = ()


def operation_at(method: str, raw_path: bytes) -> Operation:
    """The operation at a raw path below the base. Pure.

    Raises `SkillsHostError` (`not-found`), `WrongMethod`, and `BadInput` (`bad-id`).
    """
    # Clients put a slash between the serviceUrl and the rest, whether or not it ends in one.
    parts = raw_path.strip(b"/").split(b"/")
    if parts[:2] != [b"v3", b"conversations"]:
        raise SkillsHostError(code="not-found")
    rest = parts[2:]
    fitting = [route for route in ROUTES if _fits(route, rest)]
    if not fitting:
        raise SkillsHostError(code="not-found")
    for route in fitting:
        # `…/activities/history` is an id for every method but POST.
        if method in ROUTES[route]:
            ids = (part for word, part in zip(route, rest, strict=True) if word == "{}")
            return Operation(ROUTES[route][method], tuple(map(_id, ids)))
    raise WrongMethod(method for route in fitting for method in ROUTES[route])


def _fits(route: tuple[str, ...], rest: list[bytes]) -> bool:
    return len(route) == len(rest) and all(
        word in ("{}", part.decode("latin-1")) for word, part in zip(route, rest, strict=True)
    )


def _id(part: bytes) -> str:
    try:
        text = unquote_to_bytes(part).decode("utf-8")
    except UnicodeDecodeError:
        raise BadInput("an id in the path is not UTF-8", code="bad-id") from None
    if not 0 < len(text) <= ID_CHARACTERS or any(map(_is_control, text)):
        raise BadInput("an id in the path is empty, too long or has controls", code="bad-id")
    return text


def _is_control(character: str) -> bool:
    return character < " " or character == "\x7f"


def skill_host(name: str, *, guard: Guard, host: SkillHost, bot_app_id: str) -> Blueprint:
    """The skill host of the root `name`."""
    door = Blueprint(f"skills-{name}", __name__)
    every: dict[str, Any] = {
        "methods": METHODS,
        "endpoint": "skills",
        "merge_slashes": False,
        "provide_automatic_options": False,
    }

    # Encoded slashes come decoded here, several in a row too: nothing of that is to be mended.
    @door.route(f"{BASE}//<path:_rest>", **every)
    @door.route(f"{BASE}/<path:_rest>", **every)
    async def callback(_rest: str) -> Response:
        below = _raw_path().partition(BASE.encode())[2]
        operation = operation_at(request.method, below)
        identity = await guard.admit(
            door=Door.SKILL_HOST,
            bot_app_id=bot_app_id,
            with_body=operation.name in WITH_BODY,
        )
        act = acts.get(operation.name)
        if act is None:
            raise NotOffered(f"{operation.name} is not offered to skills")
        return await act(operation.ids, identity)

    async def send(ids: tuple[str, ...], identity: Identity) -> Response:
        activity = await guard.activity()
        reply_to_id = ids[1] if len(ids) > 1 else None
        return _resource(await host.send(ids[0], activity, identity, reply_to_id=reply_to_id))

    async def update(ids: tuple[str, ...], identity: Identity) -> Response:
        return _resource(await host.update(ids[0], ids[1], await guard.activity(), identity))

    async def delete(ids: tuple[str, ...], identity: Identity) -> Response:
        await host.delete(ids[0], ids[1], identity)
        return json_response(b"")

    acts: dict[str, Callable[[tuple[str, ...], Identity], Awaitable[Response]]] = {
        "send": send,
        "reply": send,
        "update": update,
        "delete": delete,
    }
    return door


def _raw_path() -> bytes:
    raw: bytes = request.scope.get("raw_path") or request.path.encode()
    return raw.partition(b"?")[0]


def _resource(activity_id: str) -> Response:
    return json_response(encode({"id": activity_id}))
