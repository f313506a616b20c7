"""The console channel: a whole channel with one bot, for a terminal, a test or a laptop.

Seen from the bot it is like any other: it signs what it sends, checks what it gets, and serves the
Connector REST API at its own serviceUrl. It has the conversations that a user opened or that the
bot created, and no others.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

from quart import Quart, Response, jsonify, request

from skills_host.errors import (
    BadInput,
    NotOffered,
    SkillsHostError,
    UnknownConversation,
    error_body,
)
from skills_host.lab.bot_tokens import BotTokens, EntraKeys
from skills_host.lab.transcript import Entry, Transcript
from skills_host.transport import Request, Send
from skills_host.transport import Response as Answer

__all__ = ["SPEAKER_HEADER", "Console", "Conversation", "create_console"]

SPEAKER_HEADER = "x-skills-host-speaker"
PAGE = 50

Account = dict[str, Any]


@dataclass(slots=True)
class Conversation:
    """One conversation of the console: who is in it, and what the bot did there."""

    conversation_id: str
    is_group: bool = False
    members: dict[str, Account] = field(default_factory=dict)
    transcript: Transcript = field(default_factory=Transcript)


class Console:
    """A channel named `channel_id` with one bot; belongs to one event loop.

    `base_url` is its own serviceUrl, `bot_url` the bot's messaging endpoint. `channel_token` gives
    a token that vouches for `base_url` to the bot, `entra_keys` the keys of the bot's tokens.
    """

    def __init__(
        self,
        *,
        base_url: str,
        bot_url: str,
        bot_app_id: str,
        send: Send,
        channel_token: Callable[[], Awaitable[str]],
        entra_keys: EntraKeys,
        channel_id: str = "console",
        now: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        self.service_url = base_url
        self.bot: Account = {"id": f"bot-{bot_app_id}", "name": "Bot", "role": "bot"}
        self.tokens = BotTokens(bot_app_id=bot_app_id, entra_keys=entra_keys, now=now)
        self.now = now
        self.new_id = new_id
        self._bot_url = bot_url
        self._send = send
        self._channel_token = channel_token
        self._channel_id = channel_id
        self._conversations: dict[str, Conversation] = {}

    def open(self, conversation: str, *, user: str = "", is_group: bool = False) -> Conversation:
        """The conversation of this id, made if there is none; `user` is in it from now on."""
        opened = self._conversations.setdefault(
            conversation, Conversation(conversation, is_group=is_group)
        )
        if user:
            opened.members.setdefault(user, _user(user))
        return opened

    def conversation(self, conversation: str) -> Conversation:
        """A conversation that was opened before; `UnknownConversation` if it was not."""
        try:
            return self._conversations[conversation]
        except KeyError:
            raise UnknownConversation from None

    def activity(
        self, text: str, *, user: str, conversation: str, is_group: bool = False
    ) -> dict[str, Any]:
        """A message of `user` as this channel sends it; members can be changed before `post`."""
        moment = datetime.fromtimestamp(self.now(), UTC)
        stamp = moment.isoformat(timespec="milliseconds")
        return {
            "type": "message",
            "id": self.new_id(),
            "timestamp": stamp.replace("+00:00", "Z"),
            "localTimestamp": stamp,
            "localTimezone": "Etc/UTC",
            "channelId": self._channel_id,
            "serviceUrl": self.service_url,
            "from": _user(user),
            "conversation": {"id": conversation} | ({"isGroup": True} if is_group else {}),
            "recipient": dict(self.bot),
            "text": text,
            "textFormat": "plain",
            "locale": "en-US",
        }

    async def post(
        self,
        activity: Mapping[str, Any],
        *,
        timeout: float = 90.0,  # noqa: ASYNC109 - the transport's own deadline
    ) -> Answer:
        """Deliver `activity` to the bot and return its answer, whatever its status.

        Opens the activity's conversation. `timeout` in seconds; raises what `send` raises.
        """
        where = activity["conversation"]
        sender = activity["from"]
        opened = self.open(where["id"], is_group=bool(where.get("isGroup")))
        opened.members[sender["id"]] = dict(sender)
        headers = {
            "Authorization": f"Bearer {await self._channel_token()}",
            "Content-Type": "application/json; charset=utf-8",
        }
        body = json.dumps(activity, ensure_ascii=False).encode()
        return await self._send(Request("POST", self._bot_url, headers, body, timeout))

    async def next_activity(
        self,
        conversation: str,
        *,
        after: int,
        timeout: float,  # noqa: ASYNC109 - a caller that waits always says how long
    ) -> Entry:
        """The next thing the bot did after entry number `after` (0: the first), or wait for it.

        `TimeoutError` after `timeout` seconds, `UnknownConversation` if it was never opened.
        """
        transcript = self.conversation(conversation).transcript
        async with asyncio.timeout(timeout):
            return await transcript.next_entry(after=after)


def _user(user: str) -> Account:
    return {"id": user, "name": user, "role": "user"}


# The Connector REST API


@dataclass(frozen=True, slots=True)
class _Call:
    """One request of the bot after its token was checked."""

    console: Console
    ids: tuple[str, ...]
    body: bytes = field(repr=False)
    query: Mapping[str, str]
    key: str | None
    speaker: str | None

    @property
    def conversation(self) -> Conversation:
        return self.console.conversation(self.ids[0])

    @property
    def transcript(self) -> Transcript:
        return self.conversation.transcript

    def json(self) -> dict[str, Any]:
        try:
            parsed = json.loads(self.body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise BadInput from None
        if not isinstance(parsed, dict):
            raise BadInput("the body is not a JSON object", code="bad-activity")
        return parsed


async def _send_activity(call: _Call) -> Any:
    call.json()
    activity_id = await call.transcript.send(
        call.body,
        activity_id=call.console.new_id(),
        received=call.console.now(),
        reply_to=call.ids[1] if len(call.ids) > 1 else None,
        speaker=call.speaker,
        key=call.key,
    )
    return {"id": activity_id}


async def _update_activity(call: _Call) -> Any:
    call.json()
    await call.transcript.update(
        call.ids[1], call.body, received=call.console.now(), speaker=call.speaker
    )
    return {"id": call.ids[1]}


async def _delete_activity(call: _Call) -> Any:
    await call.transcript.delete(call.ids[1], received=call.console.now(), speaker=call.speaker)
    return None


async def _member(call: _Call) -> Any:
    found = call.conversation.members.get(call.ids[1])
    if found is None:
        raise SkillsHostError("the conversation has no such member", code="not-found")
    return found


async def _members(call: _Call) -> Any:
    return list(call.conversation.members.values())


async def _paged_members(call: _Call) -> Any:
    members = list(call.conversation.members.values())
    start = _whole(call.query.get("continuationToken"), otherwise=0)
    end = start + max(1, _whole(call.query.get("pageSize"), otherwise=PAGE))
    page: dict[str, Any] = {"members": members[start:end]}
    return page | ({"continuationToken": str(end)} if end < len(members) else {})


async def _create_conversation(call: _Call) -> Any:
    wanted = call.json()
    console, conversation = call.console, call.console.new_id()
    opened = console.open(conversation, is_group=bool(wanted.get("isGroup")))
    for account in wanted.get("members") or []:
        if not isinstance(account, dict) or not isinstance(account.get("id"), str):
            raise BadInput("members: each needs an id", code="bad-activity")
        opened.members[account["id"]] = account
    created = {"id": conversation, "serviceUrl": console.service_url}
    if not isinstance(wanted.get("activity"), dict):
        return created
    activity_id = await opened.transcript.send(
        json.dumps(wanted["activity"], ensure_ascii=False).encode(),
        activity_id=console.new_id(),
        received=console.now(),
        speaker=call.speaker,
    )
    return created | {"activityId": activity_id}


async def _not_offered(call: _Call) -> Any:
    raise NotOffered


_Operation = Callable[[_Call], Awaitable[Any]]
_CONVERSATION = ("v3", "conversations", None)

# None stands for an id. The first row that fits wins: "history" is no activity's id.
ROUTES: tuple[tuple[tuple[str | None, ...], Mapping[str, _Operation]], ...] = (
    (("v3", "conversations"), {"POST": _create_conversation, "GET": _not_offered}),
    ((*_CONVERSATION, "activities"), {"POST": _send_activity}),
    ((*_CONVERSATION, "activities", "history"), {"POST": _not_offered}),
    (
        (*_CONVERSATION, "activities", None),
        {"POST": _send_activity, "PUT": _update_activity, "DELETE": _delete_activity},
    ),
    ((*_CONVERSATION, "activities", None, "members"), {"GET": _not_offered}),
    ((*_CONVERSATION, "members"), {"GET": _members}),
    ((*_CONVERSATION, "members", None), {"GET": _member, "DELETE": _not_offered}),
    ((*_CONVERSATION, "pagedmembers"), {"GET": _paged_members}),
    ((*_CONVERSATION, "attachments"), {"POST": _not_offered}),
)


def create_console(console: Console) -> Quart:
    """The Connector REST API of `console` as an ASGI app, to be served at its `base_url`."""
    app = Quart(__name__)
    # Ids are opaque and may hold encoded slashes: the router sees one path, `_matched` the rest.
    app.url_map.merge_slashes = False
    app.register_error_handler(SkillsHostError, _refused)

    @app.route("/", defaults={"path": ""}, methods=["GET", "POST", "PUT", "DELETE"])
    @app.route("/<path:path>", methods=["GET", "POST", "PUT", "DELETE"])
    async def connector(path: str) -> Response:
        await console.tokens.check(request.headers.get("Authorization"))
        operation, ids = _matched(request.method, request.scope["raw_path"])
        answer = await operation(await _call(console, ids))
        return Response(b"") if answer is None else jsonify(answer)

    return app


async def _call(console: Console, ids: tuple[str, ...]) -> _Call:
    return _Call(
        console=console,
        ids=ids,
        body=await request.get_data(cache=True, as_text=False, parse_form_data=False),
        query=request.args.to_dict(),
        key=request.headers.get("Idempotency-Key"),
        speaker=request.headers.get(SPEAKER_HEADER),
    )


def _matched(method: str, raw_path: bytes) -> tuple[_Operation, tuple[str, ...]]:
    # Clients put a slash between the serviceUrl and the rest, whether or not it ends in one.
    segments = raw_path.decode("latin-1").lstrip("/").split("/")
    for pattern, operations in ROUTES:
        if len(pattern) != len(segments):
            continue
        pairs = list(zip(pattern, segments, strict=True))
        if any(fixed is not None and fixed != segment for fixed, segment in pairs):
            continue
        if method not in operations:
            raise SkillsHostError(code="method")
        return operations[method], tuple(_id(segment) for fixed, segment in pairs if not fixed)
    raise SkillsHostError(code="not-found")


def _id(segment: str) -> str:
    try:
        decoded = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise BadInput(code="bad-id") from None
    if not decoded:
        raise BadInput(code="bad-id")
    return decoded


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _whole(text: str | None, *, otherwise: int) -> int:
    return int(text) if text and text.isdecimal() else otherwise


async def _refused(error: SkillsHostError) -> Response:
    response = jsonify(error_body(error))
    response.status_code = error.status
    return response
