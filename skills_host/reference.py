"""The conversation reference: all that is needed to say something in a conversation later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from skills_host.errors import BadInput
from skills_host.wire import decode, decode_members, encode, encode_members

__all__ = ["ConversationReference"]


@dataclass(frozen=True, slots=True)
class ConversationReference:
    """Where a conversation is, who is in it, and the last activity; accounts as raw JSON."""

    channel_id: str
    service_url: str
    conversation: bytes = field(repr=False)
    user: bytes | None = field(default=None, repr=False)
    bot: bytes | None = field(default=None, repr=False)
    activity_id: str | None = None
    locale: str | None = None

    @property
    def conversation_id(self) -> str:
        """The channel's id of the conversation, or an empty string."""
        return _id_in(self.conversation, "conversation")

    @property
    def user_id(self) -> str:
        """The channel's id of the user, or an empty string."""
        return _id_in(self.user, "user")

    def members(self) -> dict[str, bytes]:
        """The reference as wire members; absent ones are left out."""
        texts = {
            "channelId": self.channel_id,
            "serviceUrl": self.service_url,
            "activityId": self.activity_id,
            "locale": self.locale,
        }
        members = {name: encode(text) for name, text in texts.items() if text is not None}
        accounts = {"conversation": self.conversation, "user": self.user, "bot": self.bot}
        return members | {name: raw for name, raw in accounts.items() if raw is not None}

    def encode(self) -> bytes:
        """The reference as JSON, the shape that peers call ConversationReference."""
        return encode_members(self.members())

    @classmethod
    def parse(cls, data: bytes) -> ConversationReference:
        """The reference from its own `encode()`; `BadInput` for what is not a JSON object."""
        members = decode_members(data)
        return cls(
            channel_id=_text(members, "channelId") or "",
            service_url=_text(members, "serviceUrl") or "",
            conversation=members.get("conversation", b"{}"),
            user=members.get("user"),
            bot=members.get("bot"),
            activity_id=_text(members, "activityId"),
            locale=_text(members, "locale"),
        )


def _id_in(account: bytes | None, name: str) -> str:
    members: Any = decode(account) if account else {}
    if not isinstance(members, dict):
        raise BadInput(f"{name} has the wrong type", code="bad-activity")
    id = members.get("id") or ""
    if not isinstance(id, str):
        raise BadInput(f"{name}.id has the wrong type", code="bad-activity")
    return id


def _text(members: Mapping[str, bytes], name: str) -> str | None:
    raw = members.get(name)
    value: Any = None if raw is None else decode(raw)
    return value if isinstance(value, str) else None
