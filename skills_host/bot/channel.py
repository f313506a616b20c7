"""What a turn speaks through: a channel's client, or a buffer for answers to the request itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from skills_host.activity import Activity
from skills_host.errors import NotOffered
from skills_host.reference import ConversationReference
from skills_host.wire import encode

__all__ = [
    "Channel",
    "ChannelAnswer",
    "InvokeResponse",
    "ReplyBuffer",
    "invoke_response_activity",
    "invoke_response_of",
]


@dataclass(frozen=True, slots=True)
class ChannelAnswer:
    """What a channel answered to a question: a 2xx status, the body, and its media type."""

    status: int
    body: bytes = field(default=b"", repr=False)
    media_type: str = ""


class Channel(Protocol):
    """What a turn speaks through: a connector, or a buffer for `expectReplies`."""

    async def send(self, activity: Activity, *, key: str, speaker: str | None = None) -> str:
        """Deliver an addressed activity; the channel's id of it, or an empty string.

        `key` is the same whenever the same effect is tried again; `speaker` names the skill that
        said it, if it was one.
        """

    async def update(self, activity: Activity, *, activity_id: str) -> str:
        """Replace an activity that was sent."""

    async def delete(self, reference: ConversationReference, *, activity_id: str) -> None:
        """Take back an activity that was sent."""

    async def ask(
        self,
        method: str,
        service_url: str,
        *path: str,
        query: str = "",
        body: bytes | None = None,
    ) -> ChannelAnswer:
        """Anything else of the Connector REST API, by the parts of its path after the base."""


class ReplyBuffer:
    """The channel of a turn whose replies go into the HTTP answer; `said` hears each at once.

    All but sending is asked of the caller itself (`behind`), if there is one. So is what is sent
    when the answer has been given: `close`.
    """

    def __init__(
        self, behind: Channel | None = None, *, said: Callable[[Activity], None] = lambda _: None
    ) -> None:
        self.activities: list[Activity] = []
        self._behind = behind
        self._said = said
        self._is_closed = False

    def close(self) -> None:
        """Put nothing more into the answer."""
        self._is_closed = True

    async def send(self, activity: Activity, *, key: str, speaker: str | None = None) -> str:
        """Keep the activity; it has no id, since no channel has seen it yet."""
        if self._is_closed:
            return await self._caller(key).send(activity, key=key, speaker=speaker)
        self.activities.append(activity)
        self._said(activity)
        return ""

    async def update(self, activity: Activity, *, activity_id: str) -> str:
        """Replace what was sent in another turn; what is buffered has no id."""
        return await self._caller(activity_id).update(activity, activity_id=activity_id)

    async def delete(self, reference: ConversationReference, *, activity_id: str) -> None:
        """Take back what was sent in another turn; what is buffered has no id."""
        await self._caller(activity_id).delete(reference, activity_id=activity_id)

    async def ask(
        self,
        method: str,
        service_url: str,
        *path: str,
        query: str = "",
        body: bytes | None = None,
    ) -> ChannelAnswer:
        """Ask the caller."""
        caller = self._caller(method)
        return await caller.ask(method, service_url, *path, query=query, body=body)

    def _caller(self, about: str) -> Channel:
        if self._behind is None or not about:
            raise NotOffered("what is sent in the answer to a request has no id")
        return self._behind


@dataclass(frozen=True, slots=True)
class InvokeResponse:
    """The answer to an invoke: an HTTP status and any JSON."""

    status: int
    body: Any = None


def invoke_response_of(value: Any) -> InvokeResponse:
    """The response in an `invokeResponse` activity's value.

    .NET writes `Status` and `Body`, others lower case, and one SDK a useless string: 500 then.
    """
    if not isinstance(value, dict):
        return InvokeResponse(500)
    members = {str(name).lower(): inner for name, inner in value.items()}
    status = members.get("status")
    if type(status) is not int or not 200 <= status <= 599:
        status = 500
    return InvokeResponse(status, members.get("body"))


def invoke_response_activity(response: InvokeResponse) -> Activity:
    """The element of an `expectReplies` answer that carries an invoke's response."""
    value = {"status": response.status, "body": response.body}
    return Activity({"type": b'"invokeResponse"', "value": encode(value)})
