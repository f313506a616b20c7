"""`/api/skills/v3/conversations/…`: the Connector REST API that a root offers its skills.

Ids are opaque: they are taken from the raw path, where an encoded slash is still encoded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from hashlib import sha256
from urllib.parse import parse_qsl, unquote_to_bytes

from skills_host.activity import ID_CHARACTERS, Activity
from skills_host.auth import verify
from skills_host.auth.claims import Identity
from skills_host.consumer.host import SkillHost
from skills_host.consumer.proxy import ChannelProxy, Page, Question
from skills_host.errors import BadInput, SkillsHostError
from skills_host.settings import Operation
from skills_host.web.front import Door
from skills_host.web.guard import Guard, WrongMethod, json_answer
from skills_host.web.incoming import Incoming, Outgoing
from skills_host.wire import encode

__all__ = ["Asked", "operation_at", "page_of", "skill_host"]

BASE = "/api/skills"
_ID = b"{}"
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_PAGE_SIZE = re.compile(r"[1-9][0-9]{0,8}")
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"]

# (the path's parts below v3, with {} for an id) → {method: operation}. A fixed word comes before an
# id in the same place; replying is sending.
ROUTES: dict[tuple[str, ...], dict[str, Operation]] = {
    ("conversations",): {"GET": Operation.LIST, "POST": Operation.CREATE},
    ("conversations", "{}", "activities"): {"POST": Operation.SEND},
    ("conversations", "{}", "activities", "history"): {"POST": Operation.HISTORY},
    ("conversations", "{}", "activities", "{}"): {
        "POST": Operation.SEND,
        "PUT": Operation.UPDATE,
        "DELETE": Operation.DELETE,
    },
    ("conversations", "{}", "activities", "{}", "members"): {"GET": Operation.ACTIVITY_MEMBERS},
    ("conversations", "{}", "members"): {"GET": Operation.MEMBERS},
    ("conversations", "{}", "members", "{}"): {
        "GET": Operation.MEMBER,
        "DELETE": Operation.DELETE_MEMBER,
    },
    ("conversations", "{}", "pagedmembers"): {"GET": Operation.PAGED_MEMBERS},
    ("conversations", "{}", "attachments"): {"POST": Operation.UPLOAD},
    ("attachments", "{}"): {"GET": Operation.ATTACHMENT},
    ("attachments", "{}", "views", "{}"): {"GET": Operation.ATTACHMENT_VIEW},
}
# By their number of parts, as they are in a raw path.
_SHAPES: dict[int, list[tuple[tuple[bytes, ...], dict[str, Operation]]]] = {}
for _route, _methods in ROUTES.items():
    _SHAPES.setdefault(len(_route), []).append((tuple(map(str.encode, _route)), _methods))
PAGED = frozenset({Operation.PAGED_MEMBERS, Operation.LIST})
PAGE_SIZE = 500
QUERY_FIELDS = 16
KEY_CHARACTERS = 8192
# The clients of Azure's core, and so of the JavaScript SDK, repeat by themselves what failed: under
# the id that the request had before.
REQUEST_ID = "x-ms-client-request-id"
TOKEN_CHARACTERS = 2048
WITH_BODY = frozenset(
    {
        Operation.SEND,
        Operation.UPDATE,
        Operation.HISTORY,
        Operation.UPLOAD,
        Operation.CREATE,
    }
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a skill asks for: the operation and the ids of its route, decoded."""

    operation: Operation
    ids: tuple[str, ...] = ()


def operation_at(method: str, raw_path: bytes) -> Asked:
    """The operation at a raw path below the base. Pure.

    Raises `SkillsHostError` (`not-found`), `WrongMethod`, and `BadInput` (`bad-id`).
    """
    # Clients put a slash between the serviceUrl and the rest, whether or not it ends in one.
    parts = raw_path.strip(b"/").split(b"/")
    rest = parts[1:]
    shapes = _SHAPES.get(len(rest), []) if parts[0] == b"v3" else []
    fitting = [(route, methods) for route, methods in shapes if _fits(route, rest)]
    if not fitting:
        raise SkillsHostError(code="not-found")
    for route, methods in fitting:
        # `…/activities/history` is an id for every method but POST.
        if method in methods:
            ids = [part for word, part in zip(route, rest, strict=True) if word == _ID]
            return Asked(methods[method], tuple(map(_id, ids)))
    raise WrongMethod(method for _, methods in fitting for method in methods)


def page_of(query: bytes) -> Page:
    """Which page a query string asks for; whatever else it says is left out. Pure.

    Raises `BadInput` (`bad-query`).
    """
    try:
        text = query.decode("ascii")
        given = dict(parse_qsl(text, errors="strict", max_num_fields=QUERY_FIELDS))
    except ValueError:
        raise BadInput("the query cannot be read", code="bad-query") from None
    size, token = given.get("pageSize", ""), given.get("continuationToken", "")
    if size and not _PAGE_SIZE.fullmatch(size):
        raise BadInput("pageSize is not a number from 1", code="bad-query")
    if len(token) > TOKEN_CHARACTERS or _CONTROLS.search(token):
        raise BadInput("continuationToken is too long or has controls", code="bad-query")
    return Page(min(int(size), PAGE_SIZE) if size else None, token)


def _fits(route: tuple[bytes, ...], rest: list[bytes]) -> bool:
    return all([word in (_ID, part) for word, part in zip(route, rest, strict=True)])


def _id(part: bytes) -> str:
    try:
        text = unquote_to_bytes(part).decode("utf-8")
    except UnicodeDecodeError:
        raise BadInput("an id in the path is not UTF-8", code="bad-id") from None
    if not 0 < len(text) <= ID_CHARACTERS or _CONTROLS.search(text):
        raise BadInput("an id in the path is empty, too long or has controls", code="bad-id")
    return text


def skill_host(
    name: str, *, guard: Guard, host: SkillHost, proxy: ChannelProxy, bot_app_id: str
) -> Door:
    """The skill host of the root `name`."""
    calls = _Calls(guard, host, proxy)

    async def callback(incoming: Incoming) -> Outgoing:
        asked = operation_at(incoming.method, incoming.raw_path.partition(f"{BASE}/".encode())[2])
        identity = await guard.admit(
            incoming,
            door=verify.Door.SKILL_HOST,
            bot_app_id=bot_app_id,
            with_body=asked.operation in WITH_BODY,
        )
        return await calls.answer(asked, incoming, identity)

    door = Door(f"skills-{name}", callback, path=f"{BASE}/", endpoint="skills")
    # Encoded slashes come decoded here, several in a row too: nothing of that is to be mended.
    rules = (f"{BASE}//<path:_rest>", f"{BASE}/<path:_rest>")
    door.offer(*rules, methods=METHODS, merge_slashes=False)
    return door


@dataclass(frozen=True, slots=True)
class _Calls:
    """The effect of each operation, for a caller whose token is good."""

    guard: Guard
    host: SkillHost
    proxy: ChannelProxy

    async def answer(self, asked: Asked, incoming: Incoming, identity: Identity) -> Outgoing:
        match asked.operation:
            case Operation.SEND:
                return await self._send(asked, incoming, identity)
            case Operation.UPDATE:
                return await self._update(asked, incoming, identity)
            case Operation.DELETE:
                await self.host.delete(*_two(asked.ids), identity)
                return json_answer(b"")
            case _:
                return await self._ask(asked, incoming, identity)

    async def _send(self, asked: Asked, incoming: Incoming, identity: Identity) -> Outgoing:
        activity = await self.guard.activity(incoming)
        handle, *answered = asked.ids
        reply_to_id = answered[0] if answered else None
        key = _key_of(incoming, activity)
        sent = await self.host.send(handle, activity, identity, reply_to_id=reply_to_id, key=key)
        return json_answer(encode({"id": sent}))

    async def _update(self, asked: Asked, incoming: Incoming, identity: Identity) -> Outgoing:
        handle, activity_id = _two(asked.ids)
        activity = await self.guard.activity(incoming)
        updated = await self.host.update(handle, activity_id, activity, identity)
        return json_answer(encode({"id": updated}))

    async def _ask(self, asked: Asked, incoming: Incoming, identity: Identity) -> Outgoing:
        body = await self.guard.body(incoming) if asked.operation in WITH_BODY else b""
        page = page_of(incoming.query) if asked.operation in PAGED else Page()
        answer = await self.proxy.ask(Question(asked.operation, asked.ids, page, body), identity)
        told = json_answer(answer.body, answer.status)
        # It is the skill's to take for what it is said to be, not for what it looks like.
        return replace(
            told,
            media_type=answer.media_type or told.media_type,
            headers={"X-Content-Type-Options": "nosniff"},
        )


def _key_of(incoming: Incoming, activity: Activity) -> str:
    """What names a callback whenever it is repeated; empty if its skill does not say."""
    key = incoming.header("idempotency-key") or incoming.header(REQUEST_ID) or ""
    if len(key) > KEY_CHARACTERS:
        raise BadInput("the Idempotency-Key is too long", code="bad-id")
    if key and not incoming.header("idempotency-key"):
        # Nobody promises that it names one request alone: its content has to be the same, too.
        return f"{key} {sha256(activity.encode()).hexdigest()}"
    return key


def _two(ids: tuple[str, ...]) -> tuple[str, str]:
    handle, other = ids
    return handle, other
