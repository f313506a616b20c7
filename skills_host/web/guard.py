"""The order of checks at every door: method, content type, length, token, and only then the body.

Errors leave through here too, in the one error body, and no door answers 500 for what a peer did.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from quart import Quart, Response, g, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, RequestTimeout

from skills_host.activity import Activity, check_received, wire_name
from skills_host.auth.claims import Identity
from skills_host.auth.denials import Denied
from skills_host.auth.verify import Door, Verifier
from skills_host.errors import BadInput, ChannelFailed, SkillsHostError, TooBusy, error_body
from skills_host.wire import decode_members, encode

__all__ = ["Guard", "Noted", "WrongMethod", "answer_errors", "json_response"]

log = logging.getLogger(__name__)

# Above this many bytes, JSON is taken apart in a thread beside the event loop.
LARGE = 128 * 1024

# The members that a turn may read.
TYPED = (
    "type",
    "id",
    "name",
    "text",
    "code",
    "locale",
    "delivery_mode",
    "reply_to_id",
    "channel_id",
    "service_url",
    "from_",
    "recipient",
    "conversation",
    "entities",
)

# These have no body, whatever a bot or skill wants to put there.
_BODILESS = frozenset({204, 205, 304})

_HTTP_CODES = {404: "not-found", 405: "method", 408: "slow-body", 413: "too-large"}


class WrongMethod(SkillsHostError):
    """The address is known, but takes only the methods `allowed`."""

    code = "method"

    def __init__(self, allowed: Iterable[str]) -> None:
        super().__init__()
        self.allowed = ", ".join(sorted(set(allowed)))


def json_response(body: bytes, status: int = 200) -> Response:
    """JSON bytes, or nothing at all, as a response."""
    if not body or status in _BODILESS:
        return Response(b"", status)
    return Response(body, status, content_type="application/json")


class Guard:
    """Lets in who may come in, and reads what they brought; `lab` refuses proxied requests."""

    def __init__(self, verifier: Verifier, *, body_bytes: int, lab: bool) -> None:
        self._verifier = verifier
        self._body_bytes = body_bytes
        self._lab = lab

    async def admit(self, *, door: Door, bot_app_id: str, with_body: bool) -> Identity:
        """Check the current request's head, before a byte of its body is read.

        Raises `BadInput` and `Denied`.
        """
        if with_body:
            self._check_announced()
        if self._lab and _is_proxied():
            raise Denied("forwarded-in-lab")
        header = request.headers.get("Authorization")
        identity = await self._verifier.admit(header, door=door, bot_app_id=bot_app_id)
        g.caller = identity.app_id
        return identity

    async def received(self, identity: Identity) -> Activity:
        """The request's body as a complete activity that fits the identity."""
        activity = await self._read(check_received)
        self._verifier.bind(identity, activity)
        return activity

    async def activity(self) -> Activity:
        """The request's body as an activity with a type; who sent it is known otherwise."""
        return await self._read(_check_type)

    async def body(self) -> bytes:
        """The request's body, which is one JSON object; nothing else about it is checked."""
        body = await self._received()
        if len(body) <= LARGE:
            decode_members(body)
        else:
            await asyncio.to_thread(decode_members, body)
        return body

    async def _received(self) -> bytes:
        try:
            return await request.get_data(False, False, False)
        except RequestEntityTooLarge:
            raise BadInput(code="too-large") from None
        except RequestTimeout:
            raise BadInput(code="slow-body") from None

    async def _read(self, check: Callable[[Activity], None]) -> Activity:
        body = await self._received()
        if len(body) <= LARGE:
            return _checked(body, check)
        return await asyncio.to_thread(_checked, body, check)

    def _check_announced(self) -> None:
        kind = request.mimetype
        if kind != "application/json" and not (
            kind.startswith("application/") and kind.endswith("+json")
        ):
            raise BadInput(code="content-type")
        if (request.content_length or 0) > self._body_bytes:
            raise BadInput(code="too-large")


def _checked(body: bytes, check: Callable[[Activity], None]) -> Activity:
    activity = Activity(decode_members(body))
    for name in TYPED:
        _check_readable(name, activity.raw(wire_name(name)) or b"")
    check(activity)
    for name in TYPED:
        # Reading a member refuses one of the wrong type, before anything is done.
        getattr(activity, name)
    return activity


def _check_readable(name: str, raw: bytes) -> None:
    # A codec does not let others in while it builds a million lists; a string is one step.
    if len(raw) > LARGE and not raw.startswith(b'"'):
        raise BadInput(f"{wire_name(name)} is too large", code="too-large")


def _check_type(activity: Activity) -> None:
    if not activity.type:
        raise BadInput("type is missing", code="missing-member")


def _is_proxied() -> bool:
    names = (name.lower() for name in request.headers.keys())
    return any(name == "forwarded" or name.startswith("x-forwarded-") for name in names)


Noted = Callable[[Denied, str, str], str | None]
"""Takes note of a refusal, the door and the caller (an app id, or an address); the receipt's id."""


def answer_errors(app: Quart, noted: Noted = lambda *_: None) -> None:
    """Answer every error with its status and the one error body; log what is ours to mend.

    `noted` is told of each refusal, and gives the receipt that the caller may name to us.
    """

    async def known(error: SkillsHostError) -> Response:
        receipt = None
        if isinstance(error, Denied):
            caller = g.get("caller") or request.remote_addr or ""
            receipt = noted(error, str(request.endpoint), caller)
        return _known(error, receipt)

    handlers: tuple[tuple[type[Exception], Callable[[Any], Awaitable[Response]]], ...] = (
        (SkillsHostError, known),
        (HTTPException, _http),
        (Exception, _unforeseen),
    )
    for kind, handler in handlers:
        app.register_error_handler(kind, handler)


def _known(error: SkillsHostError, receipt: str | None) -> Response:
    if isinstance(error, Denied):
        what = (request.method, request.endpoint, error.code, receipt or "no receipt")
        log.warning("%s %s refused: %s (%s)", *what)
    elif error.status >= 500:
        log.error("%s %s failed: %s", request.method, request.endpoint, error.code)
    response = json_response(encode(error_body(error, receipt=receipt)), error.status)
    if isinstance(error, WrongMethod):
        response.headers["Allow"] = error.allowed
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.status == 503 or isinstance(error, TooBusy):
        response.headers["Retry-After"] = "1"
    if isinstance(error, ChannelFailed) and error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


async def _http(error: HTTPException) -> Response:
    status = error.code or 500
    code = _HTTP_CODES.get(status, "internal" if status >= 500 else "bad-json")
    response = json_response(encode(error_body(SkillsHostError(code=code))), status)
    for name, value in error.get_headers():
        if name.lower() in ("allow", "retry-after"):
            response.headers[name] = value
    return response


async def _unforeseen(error: Exception) -> Response:
    log.error("unforeseen error", exc_info=error)
    return json_response(encode(error_body(SkillsHostError())), 500)
