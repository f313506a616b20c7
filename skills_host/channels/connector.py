"""The Connector REST client: how a bot speaks to the channel, or calling bot, it was called by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from skills_host.activity import Activity
from skills_host.auth.tokens import TokenSource
from skills_host.bot.channel import ChannelAnswer
from skills_host.errors import BadInput, ChannelFailed
from skills_host.reference import ConversationReference
from skills_host.transport import Request, Response, Send
from skills_host.wire import decode

__all__ = ["Connector", "conversation_url"]


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
    `TokenUnavailable`. Nothing is sent twice, except after a 401 with a fresh token. Only a lab's
    channel is told which skill spoke (`names_speaker`); to the world there is one bot.
    """

    send_request: Send
    tokens: TokenSource
    audience: str
    timeout: float = 15.0
    names_speaker: bool = False

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
        answer = await self._call("POST", url, activity.encode(), extra)
        return _resource_id(answer)

    async def update(self, activity: Activity, *, activity_id: str) -> str:
        """PUT the activity in the place of the one with this id."""
        url = self._url(activity, "activities", activity_id)
        return _resource_id(await self._call("PUT", url, activity.encode(), {})) or activity_id

    async def delete(self, reference: ConversationReference, *, activity_id: str) -> None:
        """DELETE the activity with this id."""
        url = conversation_url(
            reference.service_url, reference.conversation_id, "activities", activity_id
        )
        await self._call("DELETE", url, None, {})

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
