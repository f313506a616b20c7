"""`/admin/v1/…`: the REST API of the registry. Who asks comes first, then what, then the body."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from pydantic import BaseModel, ValidationError
from quart import Blueprint, Response

from skills_host.admin.idempotency import Answer, Repetitions
from skills_host.admin.principals import Principals
from skills_host.auth.denials import Denied
from skills_host.consumer.registry.records import Actor, Order
from skills_host.errors import BadInput, SkillsHostError, VersionConflict
from skills_host.web.admin.deeds import Administered, Asked, deed_at
from skills_host.web.admin.problems import outgoing_of, problem_of
from skills_host.web.admin.routes import BASE, Route, found_at
from skills_host.web.guard import Noted, is_proxied
from skills_host.web.incoming import Incoming, QuartIncoming
from skills_host.wire import decode_members

__all__ = ["AdminDoor"]

log = logging.getLogger(__name__)

BODY_BYTES = 1024 * 1024
LIMIT = 100
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"]
QUERY_FIELDS = 16
TAG = re.compile(r'(W/)?"[!#-~]{0,100}"')
KEY = re.compile(r"[!-~]{1,255}")
NUMBER = re.compile(r"[0-9]{1,12}")
DIGEST = re.compile(r"(|[0-9a-f]{4,64})")
NAME = re.compile(r"[!-~]{0,64}")
# What a parameter of the query may be.
QUERY = {"limit": NUMBER, "after": NAME, "from": DIGEST, "to": DIGEST}
FLAG = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class AdminDoor:
    """The REST API of one host; `lab` refuses forwarded requests."""

    principals: Principals
    given: Administered
    repetitions: Repetitions
    noted: Noted
    lab: bool

    def blueprint(self) -> Blueprint:
        """All of it, as one route: unknown paths and methods are answered with problems too."""
        door = Blueprint("admin", __name__)

        @door.route(
            f"{BASE}/<path:_rest>",
            methods=METHODS,
            endpoint="admin",
            merge_slashes=False,
            provide_automatic_options=False,
        )
        async def administer(_rest: str) -> Response:
            incoming = QuartIncoming()
            return incoming.response(outgoing_of(await self.answer(incoming)))

        return door

    async def answer(self, incoming: Incoming) -> Answer:
        """The answer to one request; nothing is raised."""
        try:
            return await self._answer(incoming)
        except Denied as exc:
            caller = incoming.caller or incoming.address
            receipt = self.noted(exc, "admin", caller)
            log.warning("administration refused: %s (%s)", exc.code, receipt or "no receipt")
            return problem_of(exc, receipt=receipt)
        except Exception as exc:
            return problem_of(exc)

    async def _answer(self, incoming: Incoming) -> Answer:
        if self.lab and is_proxied(incoming):
            raise Denied("forwarded-in-lab")
        actor = await self.principals.admit(
            incoming.header("authorization"), address=incoming.address
        )
        incoming.caller = actor.name
        route, ids = found_at(incoming.method, _path(incoming))
        if not route.roles & actor.roles:
            expected = " or ".join(sorted(route.roles))
            raise Denied("admin-role", expected=expected, seen=",".join(sorted(actor.roles)))
        query = _query(incoming.query, route)
        expects = _expected(incoming, route)
        key = _key(incoming) if route.changes else ""
        raw = await _body(incoming, route)
        asked = _asked(route, actor, ids, query, expects, _model(raw, route), incoming)
        if not key or asked.order.dry_run:
            return await self._done(asked)
        heads = [route.name, str(sorted(ids.items())), str(sorted(query.items())), str(expects)]
        request = "\n".join(heads).encode() + b"\n" + raw
        return await self.repetitions.once(actor.name, key, request, lambda: self._done(asked))

    async def _done(self, asked: Asked) -> Answer:
        try:
            return await deed_at(asked.route)(self.given, asked)
        except VersionConflict:
            if asked.order.expects is None:
                raise
            raise SkillsHostError(code="precondition-failed") from None


def _asked(
    route: Route,
    actor: Actor,
    ids: Mapping[str, str],
    query: Mapping[str, str],
    expects: int | None,
    body: Any,
    incoming: Incoming,
) -> Asked:
    dry_run = FLAG[query.get("dryRun", "false")]
    reason = getattr(body, "reason", "")
    limit = int(query.get("limit") or LIMIT)
    none_match = (incoming.header("if-none-match") or "")[:1000]
    order = Order(actor, reason, expects, dry_run)
    return Asked(route, order, ids, query, limit, body, none_match)


def _path(incoming: Incoming) -> str:
    raw = incoming.raw_path.partition(BASE.encode())[2]
    try:
        return unquote_to_bytes(raw).decode("ascii")
    except UnicodeDecodeError:
        raise SkillsHostError(code="not-found") from None


def _query(raw: bytes, route: Route) -> dict[str, str]:
    """The parameters that a route takes. Raises `BadInput` (`bad-query`) for all others."""
    try:
        pairs = parse_qsl(raw.decode("ascii"), True, errors="strict", max_num_fields=QUERY_FIELDS)
    except ValueError:
        raise BadInput("the query cannot be read", code="bad-query") from None
    found = dict(pairs)
    taken = (*route.query, *(("dryRun",) if route.changes else ()))
    if len(found) != len(pairs) or not found.keys() <= set(taken):
        raise BadInput(f"the parameters are, once each: {', '.join(taken)}", code="bad-query")
    for name, value in found.items():
        _check_parameter(route, name, value)
    return found


def _check_parameter(route: Route, name: str, value: str) -> None:
    if name == "dryRun":
        good = value in FLAG
    elif name == "limit":
        good = bool(NUMBER.fullmatch(value)) and 1 <= int(value) <= 500
    else:
        form = NUMBER if (route.name, name) == ("audit", "after") else QUERY[name]
        good = bool(form.fullmatch(value))
    if not good:
        raise BadInput(f"{name} has the wrong form", code="bad-query")


def _expected(incoming: Incoming, route: Route) -> int | None:
    """The version that If-Match demands; None for any. Weak tags and others' match nothing."""
    if not route.guarded:
        return None
    header = (incoming.header("if-match") or "").strip()
    if not header:
        raise SkillsHostError(code="precondition-required")
    if header == "*":
        return None
    if not TAG.fullmatch(header):
        raise BadInput("If-Match: one ETag in quotes", code="bad-header")
    version = header.strip('"')
    return int(version) if NUMBER.fullmatch(version) else -1


def _key(incoming: Incoming) -> str:
    key = incoming.header("idempotency-key")
    if key is not None and not KEY.fullmatch(key):
        raise BadInput("Idempotency-Key: 1-255 visible characters", code="bad-header")
    return key or ""


async def _body(incoming: Incoming, route: Route) -> bytes:
    length = incoming.header("content-length") or "0"
    if not length.isascii() or not length.isdigit() or float(length) > BODY_BYTES:
        raise BadInput(code="too-large")
    if route.body is None:
        return b""
    body = await incoming.body()
    if len(body) > BODY_BYTES:
        raise BadInput(code="too-large")
    kind = (incoming.header("content-type") or "").partition(";")[0].strip().lower()
    if (body or route.needs_body) and kind != "application/json":
        raise BadInput(code="content-type")
    return body


def _model(raw: bytes, route: Route) -> BaseModel | None:
    if route.body is None:
        return None
    try:
        if raw:
            decode_members(raw)
        return route.body.model_validate_json(raw or b"{}")
    except ValidationError as exc:
        fault = exc.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))[:200] or "the body"
        raise BadInput(f"{where}: {fault['msg']}", code="bad-body") from None
