"""Posting an activity to a skill, and reading whatever it answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from skills_host.activity import Activity
from skills_host.auth.tokens import TokenSource
from skills_host.bot.channel import InvokeResponse, invoke_response_of
from skills_host.consumer.breaker import Breakers, is_failure
from skills_host.consumer.frames import ACTIVITY, INVOKE_RESPONSE, FrameReader
from skills_host.consumer.hops import baggage_of
from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.relays import Heard
from skills_host.errors import BadInput, SkillFailed, TokenUnavailable, TransportFailed
from skills_host.settings import Retry
from skills_host.telemetry import BREAKER, CALLS, Telemetry
from skills_host.transport import EVENT_STREAM, Request, Response, Send
from skills_host.wire import decode, decode_elements, decode_members

__all__ = ["SkillAnswer", "SkillClient", "log_failure", "replies_of"]

log = logging.getLogger(__name__)

FRAME_BYTES = 4 * 1024 * 1024
PAUSES = (0.2, 0.8)
RETRIES = len(PAUSES)
LONGEST_PAUSE = 5.0
# What a skill answers that is at another address, or has another list, than its settings say.
MISCONFIGURED = frozenset({401, 403, 404, 405, 415})


@dataclass(frozen=True, slots=True)
class SkillAnswer:
    """What a skill answered: its status, its replies in order (`expectReplies`), any JSON body."""

    status: int
    replies: tuple[Activity, ...] = ()
    body: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _Posted:
    """What is posted to a skill, once or again."""

    skill: Skill
    body: bytes = field(repr=False)
    conversation_id: str
    key: str
    stream: bool
    hops: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SkillClient:
    """Posts activities to skills as the bot that `tokens` belong to.

    A token is for exactly the skill that gets it. Nothing is posted twice, except where the skill
    has surely done nothing yet: it cannot be reached; it answers 401 or 403 (once more, with a
    fresh token; but 403 may also be its answer to an invoke), or 429 or 503 and says after how
    many seconds (`Retry-After`, at most five). Where it broke off, it is posted to again only if
    its registration says that it takes the same activity once (`retry = "safe"`). `pause` waits
    for so many seconds.
    """

    send: Send
    tokens: TokenSource
    breakers: Breakers
    timeout: float = 60.0
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    telemetry: Telemetry = field(default_factory=Telemetry)
    clock: Callable[[], float] = time.perf_counter

    async def post(
        self,
        skill: Skill,
        activity: Activity,
        *,
        conversation_id: str,
        key: str = "",
        hops: tuple[str, ...] = (),
        heard: Heard | None = None,
    ) -> SkillAnswer:
        """Deliver an addressed activity; any 2xx is success, and an invoke's status is its answer.

        `key` is the same whenever the same activity is posted again; `hops` is the trail of the
        bots that pass it on, our own among them.

        What a skill streams is given to `heard` as it comes, and is not among the replies.
        Raises `SkillFailed`, and what `heard` raises. A skill that fails all the time is left
        alone for a while (`skill-left-alone`), but for ends: they are told to whoever can hear.
        """
        if activity.type != "endOfConversation":
            await self.breakers.begin(skill.name, seconds=skill.seconds or self.timeout)
        began, outcome = self.clock(), "cancelled"
        try:
            stream = activity.delivery_mode == "stream"
            posted = _Posted(skill, activity.encode(), conversation_id, key, stream, hops)
            answer = await self._answered(posted, activity, heard)
            outcome = "ok"
        except SkillFailed as exc:
            outcome = exc.code
            if is_failure(exc):
                await self.breakers.failed(skill.name)
            else:
                await self.breakers.given_up(skill.name)
            raise
        except BaseException:
            await self.breakers.given_up(skill.name)
            raise
        finally:
            self.telemetry.took(CALLS, self.clock() - began, skill.name, outcome)
        await self.breakers.succeeded(skill.name)
        return answer

    async def measure(self) -> None:
        """Tell which skills are left alone."""
        for name, state in self.breakers.states().items():
            self.telemetry.set(BREAKER, state, name)

    async def _answered(
        self, posted: _Posted, activity: Activity, heard: Heard | None
    ) -> SkillAnswer:
        skill = posted.skill
        token = await self._token(skill)
        answer = await self._patiently(posted, token)
        if answer.status == 401 or (answer.status == 403 and activity.type != "invoke"):
            self.tokens.forget(skill.app_id, token=token)
            token = await self._token(skill)
            answer = await self._patiently(posted, token)
        if answer.ok and answer.headers.get("content-type", "").startswith(EVENT_STREAM):
            return await _streamed(answer, heard or _unheard)
        if activity.type == "invoke" and answer.status != 401:
            in_answer = posted.stream or activity.delivery_mode == "expectReplies"
            return _invoke_answer(answer, in_answer=in_answer)
        if not answer.ok:
            raise _failure(answer)
        return SkillAnswer(answer.status, _replies(answer, activity.delivery_mode))

    async def _token(self, skill: Skill) -> str:
        try:
            return await self.tokens.token(skill.app_id)
        except TokenUnavailable as exc:
            raise SkillFailed(f"the skill: {exc.meaning}", code=exc.code) from exc

    async def _patiently(self, posted: _Posted, token: str) -> Response:
        """Post, and again where the skill has surely done nothing yet, or takes it once only."""
        trial = 0
        while True:
            try:
                answer = await self._once(posted, token)
                seconds = _asked_pause(answer)
                if seconds is None or trial >= RETRIES:
                    return answer
            except TransportFailed as exc:
                is_safe = not exc.sent or posted.skill.retry is Retry.SAFE
                if exc.code != "unreachable" or not is_safe or trial >= RETRIES:
                    raise _unreached(exc) from exc
                seconds = PAUSES[trial]
            trial += 1
            await self.pause(seconds)

    async def _once(self, posted: _Posted, token: str) -> Response:
        more = {"Idempotency-Key": posted.key} if posted.key else {}
        if posted.hops:
            more["baggage"] = baggage_of(posted.hops)
        return await self.send(
            Request(
                "POST",
                posted.skill.endpoint,
                headers={
                    "Authorization": f"Bearer {token}",
                    "Content-Type": "application/json; charset=utf-8",
                    "Accept": EVENT_STREAM if posted.stream else "application/json",
                    "x-ms-conversation-id": posted.conversation_id,
                    **more,
                },
                body=posted.body,
                timeout=posted.skill.seconds or self.timeout,
                stream=posted.stream,
            )
        )


def log_failure(skill: Skill, failure: SkillFailed) -> None:
    """Tell the operator of a failure: an error, where it does not pass by itself."""
    if failure.answered in MISCONFIGURED:
        log.error("skill %s: check its endpoint and its list of callers: %s", skill.name, failure)
    else:
        log.warning("skill %s failed: %s (%s)", skill.name, failure.code, failure)


def replies_of(body: bytes) -> tuple[Activity, ...]:
    """The replies in an `expectReplies` answer, in order; none where there is no list.

    Raises `SkillFailed` for a body that is not JSON and for replies that are not activities.
    """
    if not body.strip():
        return ()
    try:
        members = decode_members(body)
        return tuple(map(_reply, decode_elements(members.get("activities", b"null"))))
    except BadInput as exc:
        raise SkillFailed("the skill's answer is not an expectReplies answer") from exc


def _asked_pause(answer: Response) -> float | None:
    """The seconds after which the skill wants to be asked again; None if it does not say so."""
    asked = answer.headers.get("retry-after", "")
    if answer.status not in (429, 503) or not (asked.isascii() and asked.isdigit()):
        return None
    # Longer than the user waits: then it is a failure.
    return float(asked) if len(asked) < 4 and float(asked) <= LONGEST_PAUSE else None


def _replies(answer: Response, mode: str | None) -> tuple[Activity, ...]:
    if mode == "stream" and not answer.body.lstrip().startswith(b"{"):
        # A skill that does not know the mode answers as it likes, and calls back.
        return ()
    return replies_of(answer.body) if mode in ("expectReplies", "stream") else ()


async def _streamed(answer: Response, heard: Heard) -> SkillAnswer:
    response: InvokeResponse | None = None
    async with aclosing(_frames(answer)) as frames:
        async for reply in frames:
            if isinstance(reply, Activity):
                await heard(reply)
            else:
                response = response or reply
    if response is None:
        return SkillAnswer(501)
    return SkillAnswer(response.status, body=response.body)


async def _frames(answer: Response) -> AsyncGenerator[Activity | InvokeResponse]:
    """What a skill streams, as it comes; only what is wrong with the stream is translated."""
    reader = FrameReader(limit=FRAME_BYTES)
    try:
        async with aclosing(answer.chunks or _whole(answer.body)) as chunks:
            async for chunk in chunks:
                for frame in reader.feed(chunk):
                    if frame.event == ACTIVITY:
                        yield _reply(frame.data)
                    elif frame.event == INVOKE_RESPONSE:
                        yield invoke_response_of(decode(frame.data))
    except TransportFailed as exc:
        raise _unreached(exc) from exc
    except BadInput as exc:
        raise SkillFailed("a frame of the skill's stream is not an activity") from exc
    if reader.is_within:
        raise SkillFailed("the skill's stream ends within a frame")


async def _whole(body: bytes) -> AsyncGenerator[bytes]:
    yield body


async def _unheard(_: Activity) -> None:
    """What nobody listens to is read all the same, so that the connection can be used again."""


def _unreached(failure: TransportFailed) -> SkillFailed:
    code = "deadline" if failure.code == "deadline" else "unreachable"
    return SkillFailed(f"the skill: {failure.meaning}", code=code)


def _reply(element: bytes) -> Activity:
    reply = Activity.parse(element)
    # Reading these refuses other types; the rest of a reply is nobody's business but the user's.
    named = (reply.type, reply.name, reply.code, reply.text)
    if not named[0]:
        raise BadInput("type is missing", code="missing-member")
    return reply


def _invoke_answer(answer: Response, *, in_answer: bool) -> SkillAnswer:
    """Any status is an answer to an invoke.

    With `in_answer` the response is one of the replies, or nobody handled the invoke (501); only
    the Agents SDK for .NET puts it into the status and a member `body` beside them. A skill that
    does not know the mode answers as if it had not been asked for.
    """
    document = _json(answer.body)
    listed = isinstance(document, dict) and document and set(document) <= {"activities", "body"}
    if not in_answer or not listed:
        return SkillAnswer(answer.status, body=document)
    is_beside = answer.status != 200 or "body" in document
    status = answer.status if is_beside else 501
    return SkillAnswer(status, replies_of(answer.body), document.get("body"))


def _failure(answer: Response) -> SkillFailed:
    return SkillFailed(f"the skill answered {answer.status}", answered=answer.status)


def _json(body: bytes) -> Any:
    if not body:
        return None
    try:
        return decode(body)
    except BadInput:
        return body.decode("utf-8", "replace")
