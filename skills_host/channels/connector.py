"""The Connector REST client: how a bot speaks to the channel, or calling bot, it was called by."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from skills_host.activity import Activity
from skills_host.auth.tokens import TokenSource
from skills_host.bot.channel import ChannelAnswer
from skills_host.errors import BadInput, ChannelFailed, TransportFailed
from skills_host.reference import ConversationReference
from skills_host.transport import Request, Response, Send
from skills_host.wire import decode

__all__ = ["Again", "Connector", "conversation_url", "retried"]

log = logging.getLogger(__name__)

LONGEST_PAUSE = 5
PAUSES = (0.1, 0.4, 1.0)  # seconds before each new trial


def conversation_url(service_url: str, conversation_id: str, *parts: str) -> str:
    """The address of something in a conversation; ids are opaque and wholly percent-encoded."""
    return _url_of(service_url, "v3", "conversations", conversation_id, *parts)


def _url_of(service_url: str, *parts: str) -> str:
    if not all(map(_fits_in_path, parts)):
        raise BadInput("the id cannot stand in a path", code="bad-id")
    base = service_url if service_url.endswith("/") else f"{service_url}/"
    return base + "/".join(quote(part, safe="") for part in parts)


def _fits_in_path(part: str) -> bool:
    # Encoded or not, these two lead somewhere else wherever paths are tidied on the way.
    return part not in (".", "..")


@dataclass(frozen=True, slots=True)
class Connector:
    """A turn's channel over HTTP, with tokens for one audience.

    Errors are `ChannelFailed` (with what the channel answered), `TransportFailed` and
    `TokenUnavailable`. What is sent, updated or deleted is tried again where it surely did not
    arrive (a refused connection, a 401 with a fresh token, a 429 or 503 with `Retry-After`). Where
    nobody knows whether it did (the connection broke off, a gateway's 502 or 504), it is sent once
    more, with the same key and a line in the log. Only a lab's channel is told which skill spoke
    (`names_speaker`); to the world there is one bot. `pause` waits for so many seconds.
    """

    send_request: Send
    tokens: TokenSource
    audience: str
    timeout: float = 15.0
    names_speaker: bool = False
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def send(self, activity: Activity, *, key: str, speaker: str | None = None) -> str:
        """POST the activity as a reply, or to the conversation where it answers nothing."""
        reply_to_id = activity.reply_to_id or ""
        # A POST to `…/activities/history` would be another operation.
        is_reply = reply_to_id not in ("", "history") and _fits_in_path(reply_to_id)
        parts = ("activities", reply_to_id) if is_reply else ("activities",)
        url = self._url(activity, *parts)
        extra = {"Idempotency-Key": key}
        if speaker and self.names_speaker:
            extra["x-skills-host-speaker"] = speaker
        return _resource_id(await self._surely("POST", url, activity.encode(), extra))

    async def update(self, activity: Activity, *, activity_id: str) -> str:
        """PUT the activity in the place of the one with this id."""
        url = self._url(activity, "activities", activity_id)
        answer = await self._surely("PUT", url, activity.encode(), {})
        return _resource_id(answer) or activity_id

    async def delete(self, reference: ConversationReference, *, activity_id: str) -> None:
        """DELETE the activity with this id."""
        url = conversation_url(
            reference.service_url, reference.conversation_id, "activities", activity_id
        )
        await self._surely("DELETE", url, None, {})

    async def ask(
        self,
        method: str,
        service_url: str,
        *path: str,
        query: str = "",
        body: bytes | None = None,
    ) -> ChannelAnswer:
        """Any request of the Connector REST API, by the parts of its path after the base."""
        url = _url_of(service_url, *path) + (f"?{query}" if query else "")
        answer = await self._call(method, url, body, {})
        return ChannelAnswer(answer.status, answer.body, answer.headers.get("content-type", ""))

    def _url(self, activity: Activity, *parts: str) -> str:
        return conversation_url(activity.service_url or "", activity.conversation.id or "", *parts)

    async def _surely(
        self, method: str, url: str, body: bytes | None, extra: Mapping[str, str]
    ) -> Response:
        """The answer to a request that has an effect, tried again where that is safe."""
        trial, is_marked = 0, False
        while True:
            try:
                return await self._call(method, url, body, extra)
            except (ChannelFailed, TransportFailed) as exc:
                trial += 1
                again = retried(exc, trial=trial, is_marked=is_marked)
                if again is None:
                    raise
                if again.is_unknown:
                    is_marked = True
                    log.warning("a %s to the channel is sent again: %s", method, exc.code)
                await self.pause(again.seconds)

    async def _call(
        self, method: str, url: str, body: bytes | None, extra: Mapping[str, str]
    ) -> Response:
        token = await self.tokens.token(self.audience)
        answer = await self._once(method, url, body, extra, token)
        if answer.status == 401:
            self.tokens.forget(self.audience, token=token)
            token = await self.tokens.token(self.audience)
            answer = await self._once(method, url, body, extra, token)
        if not answer.ok:
            raise _failure(answer)
        return answer

    async def _once(
        self, method: str, url: str, body: bytes | None, extra: Mapping[str, str], token: str
    ) -> Response:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, */*"}
        if body is not None:
            headers["Content-Type"] = "application/json; charset=utf-8"
        return await self.send_request(
            Request(
                method,
                url,
                headers={**headers, **extra},
                body=body,
                timeout=self.timeout,
            )
        )


@dataclass(frozen=True, slots=True)
class Again:
    """A request is sent again after so many seconds; `is_unknown` if it may have had its effect."""

    seconds: float
    is_unknown: bool = False


def retried(
    failure: ChannelFailed | TransportFailed, *, trial: int, is_marked: bool
) -> Again | None:
    """When to send again what failed for the `trial`th time; None if it is not. Pure.

    What may have arrived is sent again once only (`is_marked`: it was).
    """
    if trial > len(PAUSES):
        return None
    if isinstance(failure, ChannelFailed):
        asked = failure.retry_after
        if failure.answered in (429, 503) and asked is not None and asked <= LONGEST_PAUSE:
            return Again(asked)
        is_unknown = failure.answered in (502, 504)
    else:
        if not failure.sent:
            return Again(PAUSES[trial - 1]) if failure.code == "unreachable" else None
        # After a deadline the user has waited long enough already.
        is_unknown = failure.code == "unreachable"
    return Again(PAUSES[trial - 1], is_unknown=True) if is_unknown and not is_marked else None


def _failure(answer: Response) -> ChannelFailed:
    """A refusal for good (4xx but for 408 and 429), or a failure."""
    final = 400 <= answer.status < 500 and answer.status not in (408, 429)
    return ChannelFailed(
        f"the channel answered {answer.status}",
        code="channel-refused" if final else "channel-failed",
        answered=answer.status,
        retry_after=_seconds(answer.headers.get("retry-after", "")),
    )


def _seconds(text: str) -> int | None:
    """A `Retry-After` in seconds; a date, or more than a day, is as good as none."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        return None
    return int(text)


def _resource_id(answer: Response) -> str:
    """The id in the channel's answer; some hosts answer with nothing, or with a bare text."""
    if not answer.body:
        return ""
    try:
        document = decode(answer.body)
    except BadInput:
        return ""
    found = document.get("id") if isinstance(document, dict) else None
    return found if isinstance(found, str) else ""
