"""The order of checks at every door: method, content type, length, token, and only then the body.

Errors leave through here too, in the one error body, and no door answers 500 for what a peer did.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from quart import Quart, Response, request
from werkzeug.exceptions import HTTPException

from skills_host.activity import Activity, check_received, wire_name
from skills_host.auth.claims import Identity
from skills_host.auth.denials import Denied
from skills_host.auth.verify import Door, Verifier
from skills_host.errors import BadInput, ChannelFailed, SkillsHostError, TooBusy, error_body
from skills_host.web.incoming import Answering, Incoming, Outgoing, QuartIncoming
from skills_host.wire import decode_members, encode

__all__ = [
    "Guard",
    "Noted",
    "WrongMethod",
    "answer_errors",
    "answered",
    "is_proxied",
    "json_answer",
    "json_response",
]

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


def json_answer(body: bytes, status: int = 200) -> Outgoing:
    """JSON bytes, or nothing at all, as an answer."""
    return Outgoing(status, b"" if status in _BODILESS else body)


def json_response(body: bytes, status: int = 200) -> Response:
    """The same as Quart sends it."""
    return QuartIncoming.response(json_answer(body, status))


class Guard:
    """Lets in who may come in, and reads what they brought; `lab` refuses proxied requests."""

    def __init__(self, verifier: Verifier, *, body_bytes: int, lab: bool) -> None:
        self._verifier = verifier
        self._body_bytes = body_bytes
        self._lab = lab

    async def admit(
        self, incoming: Incoming, *, door: Door, bot_app_id: str, with_body: bool
    ) -> Identity:
        """Check a request's head, before a byte of its body is read.

        Raises `BadInput` and `Denied`.
        """
        if with_body:
            self._check_announced(incoming)
        if self._lab and is_proxied(incoming):
            raise Denied("forwarded-in-lab")
        header = incoming.header("authorization")
        identity = await self._verifier.admit(header, door=door, bot_app_id=bot_app_id)
        incoming.caller = identity.app_id
        return identity

    async def received(self, incoming: Incoming, identity: Identity) -> Activity:
        """The request's body as a complete activity that fits the identity."""
        activity = await self._read(incoming, check_received)
        self._verifier.bind(identity, activity)
        return activity

    async def activity(self, incoming: Incoming) -> Activity:
        """The request's body as an activity with a type; who sent it is known otherwise."""
        return await self._read(incoming, _check_type)

    async def body(self, incoming: Incoming) -> bytes:
        """The request's body, which is one JSON object; nothing else about it is checked."""
        body = await incoming.body()
        if len(body) <= LARGE:
            decode_members(body)
        else:
            await asyncio.to_thread(decode_members, body)
        return body

    async def _read(self, incoming: Incoming, check: Callable[[Activity], None]) -> Activity:
        body = await incoming.body()
        if len(body) <= LARGE:
            return _checked(body, check)
        return await asyncio.to_thread(_checked, body, check)

    def _check_announced(self, incoming: Incoming) -> None:
        kind = (incoming.header("content-type") or "").partition(";")[0].strip().lower()
        if kind != "application/json" and not (
            kind.startswith("application/") and kind.endswith("+json")
        ):
            raise BadInput(code="content-type")
        length = incoming.header("content-length") or ""
        if length.isascii() and length.isdigit() and float(length) > self._body_bytes:
            raise BadInput(code="too-large")


def _checked(body: bytes, check: Callable[[Activity], None]) -> Activity:
    activity = Activity(decode_members(body))
    if len(body) > LARGE:
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


def is_proxied(incoming: Incoming) -> bool:
    """True if a request says that somebody forwarded it."""
    return any(name == "forwarded" or name.startswith("x-forwarded-") for name in incoming.names())


Noted = Callable[[Denied, str, str], str | None]
"""Takes note of a refusal, the door and the caller (an app id, or an address); the receipt's id."""


async def answered(
    answering: Answering, incoming: Incoming, *, endpoint: str, noted: Noted
) -> Outgoing:
    """The answer to a request, errors in the one error body; what is ours to mend is logged.

    `noted` is told of each refusal, and gives the receipt that the caller may name to us.
    """
    try:
        return await answering(incoming)
    except SkillsHostError as exc:
        return _known(exc, incoming, endpoint, noted)
    except Exception as exc:
        return _unforeseen(exc)


def answer_errors(app: Quart, noted: Noted = lambda *_: None) -> None:
    """Have Quart answer every error as `answered` does."""

    async def known(error: SkillsHostError) -> Response:
        incoming = QuartIncoming()
        return incoming.response(_known(error, incoming, str(request.endpoint), noted))

    async def unforeseen(error: Exception) -> Response:
        return QuartIncoming.response(_unforeseen(error))

    handlers: tuple[tuple[type[Exception], Callable[[Any], Awaitable[Response]]], ...] = (
        (SkillsHostError, known),
        (HTTPException, _http),
        (Exception, unforeseen),
    )
    for kind, handler in handlers:
        app.register_error_handler(kind, handler)


def _known(error: SkillsHostError, incoming: Incoming, endpoint: str, noted: Noted) -> Outgoing:
    receipt = None
    if isinstance(error, Denied):
        receipt = noted(error, endpoint, incoming.caller or incoming.address)
        what = (incoming.method, endpoint, error.code, receipt or "no receipt")
        log.warning("%s %s refused: %s (%s)", *what)
    elif error.status >= 500:
        log.error("%s %s failed: %s", incoming.method, endpoint, error.code)
    headers = {}
    if isinstance(error, WrongMethod):
        headers["Allow"] = error.allowed
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status == 503:
        headers["Retry-After"] = "1"
    if isinstance(error, ChannelFailed | TooBusy) and error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    body = encode(error_body(error, receipt=receipt))
    return Outgoing(error.status, body, headers=headers)


async def _http(error: HTTPException) -> Response:
    status = error.code or 500
    code = _HTTP_CODES.get(status, "internal" if status >= 500 else "bad-json")
    response = json_response(encode(error_body(SkillsHostError(code=code))), status)
    for name, value in error.get_headers():
        if name.lower() in ("allow", "retry-after"):
            response.headers[name] = value
    return response


def _unforeseen(error: Exception) -> Outgoing:
    log.error("unforeseen error", exc_info=error)
    return Outgoing(500, encode(error_body(SkillsHostError())))
