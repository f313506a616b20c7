"""Addressing, pure: who an activity is from, who it is for, and where its answers go.

Nothing that a peer writes into a body decides an address here: addresses come from the reference
that was stored when the conversation began.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from skills_host.activity import Activity
from skills_host.reference import ConversationReference
from skills_host.wire import (
    decode_elements,
    decode_members,
    encode,
    encode_members,
    patched,
)

__all__ = [
    "addressed_to_skill",
    "continuation_of",
    "end_of_conversation",
    "id_of",
    "joined_key",
    "received_in",
    "reference_of",
    "reply_to",
    "restored_for_user",
    "session_key",
    "tidied",
]

_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch  # what percent-encoding leaves as it is
_ID_CHARACTERS = 24
_OBJECTS = frozenset({"from", "recipient", "conversation"})
# What is null or empty here has a meaning to somebody.
_UNTYPED = frozenset({"value", "channelData", "entities"})
# Direct Line ids of conversationUpdate cannot be replied to.
_UNREPLYABLE = ("directline", "webchat")


def reference_of(activity: Activity, *, bot_id: str = "") -> ConversationReference:
    """The reference of the conversation that a received activity belongs to.

    `bot_id` is the bot's account where the activity does not say whom it is for.
    """
    bot = activity.raw("recipient")
    if bot_id and not activity.recipient.id:
        bot = patched(bot, {"id": bot_id})
    unreplyable = activity.type == "conversationUpdate" and activity.channel_id in _UNREPLYABLE
    return ConversationReference(
        channel_id=activity.channel_id or "",
        service_url=activity.service_url or "",
        conversation=activity.raw("conversation") or b"{}",
        user=activity.raw("from"),
        bot=bot,
        activity_id=None if unreplyable else activity.id,
        locale=activity.locale,
    )


def reply_to(reference: ConversationReference, activity: Activity) -> Activity:
    """`activity` addressed from the bot to the user of `reference`, as an answer to it."""
    return restored_for_user(activity, reference, reply_to_id=reference.activity_id)


def addressed_to_skill(
    activity: Activity, *, conversation_id: str, service_url: str, delivery_mode: str | None = None
) -> Activity:
    """A received activity as its skill gets it.

    Changes only what skills expect to be changed: `relatesTo` (the original conversation),
    `conversation.id`, `serviceUrl`, `recipient.role`, `deliveryMode`; `callerId` is not for the
    wire and is removed.
    """
    channel_id = activity.raw("channelId") or activity.raw("_channelId")
    relates_to = {
        "serviceUrl": activity.raw("serviceUrl"),
        "activityId": activity.raw("id"),
        "channelId": channel_id,
        "conversation": activity.raw("conversation"),
        "locale": activity.raw("locale"),
    }
    changes: dict[str, bytes | None] = {
        "relatesTo": encode_members({k: raw for k, raw in relates_to.items() if raw is not None}),
        "conversation": patched(activity.raw("conversation"), {"id": conversation_id}),
        "serviceUrl": encode(service_url),
        "recipient": patched(activity.raw("recipient"), {"role": "skill"}),
        "callerId": None,
    }
    if channel_id != activity.raw("channelId"):
        changes["channelId"] = channel_id
    if delivery_mode is not None:
        changes["deliveryMode"] = encode(delivery_mode)
    elif activity.delivery_mode in ("expectReplies", "stream"):
        # The user's channel asked this of the root; the skill answers by callbacks.
        changes["deliveryMode"] = None
    return activity.with_raw(changes)


def tidied(activity: Activity) -> Activity:
    """What a bot made, as the strictest peers want it: no null or empty string in typed members.

    `text` may be empty. `value`, `channelData`, `entities`, an attachment's `content` and an
    action's `value` are not touched: what is null there has a meaning to somebody.
    """
    members = activity.members
    changes = {
        name: _tidied_member(name, raw)
        for name, raw in members.items()
        if name not in _UNTYPED and (b"null" in raw or b'""' in raw)
    }
    if all(members[name] == raw for name, raw in changes.items()):
        return activity
    return activity.with_raw(changes)


def _tidied_member(name: str, raw: bytes) -> bytes | None:
    if _is_nothing(raw):
        return raw if name == "text" and raw != b"null" else None
    if name in _OBJECTS:
        return _tidied_object(raw)
    if name == "attachments":
        return _tidied_list(raw, but="content")
    if name == "suggestedActions":
        return _tidied_suggestions(raw)
    return raw


def _is_nothing(raw: bytes) -> bool:
    return raw in (b"null", b'""')


def _tidied_object(raw: bytes, *, but: str = "") -> bytes:
    members = decode_members(raw)
    kept = {name: raw for name, raw in members.items() if name == but or not _is_nothing(raw)}
    return encode_members(kept)


def _tidied_list(raw: bytes, *, but: str) -> bytes:
    elements = (_tidied_object(element, but=but) for element in decode_elements(raw))
    return b"[%b]" % b",".join(elements)


def _tidied_suggestions(raw: bytes) -> bytes:
    members = decode_members(_tidied_object(raw))
    if "actions" in members:
        members["actions"] = _tidied_list(members["actions"], but="value")
    return encode_members(members)


def restored_for_user(
    activity: Activity, reference: ConversationReference, *, reply_to_id: str | None
) -> Activity:
    """An activity from a skill or bot, addressed to the user of the stored reference."""
    return activity.with_raw(
        {
            "channelId": encode(reference.channel_id),
            "serviceUrl": encode(reference.service_url),
            "conversation": reference.conversation,
            "from": reference.bot,
            "recipient": reference.user,
            "replyToId": encode(reply_to_id) if reply_to_id else None,
            "locale": activity.raw("locale") or _locale(reference),
            "callerId": None,
            "id": None,
        }
    )


def received_in(activity: Activity, reference: ConversationReference) -> Activity:
    """An activity from a skill as the root's bot gets to see it: in the user's conversation."""
    return activity.with_raw(
        {
            "channelId": encode(reference.channel_id),
            "serviceUrl": encode(reference.service_url),
            "conversation": reference.conversation,
            "from": reference.user,
            "recipient": reference.bot,
            "callerId": None,
        }
    )


def continuation_of(reference: ConversationReference, *, name: str, new_id: str) -> Activity:
    """The event that a turn runs on when no user said anything: a callback, a proactive send."""
    return Activity(
        {
            "type": b'"event"',
            "name": encode(name),
            "id": encode(new_id),
            "channelId": encode(reference.channel_id),
            "serviceUrl": encode(reference.service_url),
            "conversation": reference.conversation,
            **({"from": reference.user} if reference.user else {}),
            **({"recipient": reference.bot} if reference.bot else {}),
            **({"locale": encode(reference.locale)} if reference.locale else {}),
            "relatesTo": reference.encode(),
        }
    )


def end_of_conversation(
    *, code: str = "completedSuccessfully", value: Any = None, text: str | None = None
) -> Activity:
    """An end with its code and result; unaddressed."""
    return Activity.make("endOfConversation", code=code, value=value, text=text)


def _locale(reference: ConversationReference) -> bytes | None:
    return encode(reference.locale) if reference.locale else None


def session_key(bot: str, activity: Activity, *, caller: str = "") -> str:
    """Whose turn order, active skill and state an activity belongs to.

    (bot, channel, conversation) in one-to-one chats; in groups each user has a session of their
    own, so that nobody answers another's questions. Where the bot is a skill, `caller` is the
    app id of who called it: (bot, caller, conversation), since a caller gives conversations ids
    of its own, may not meet another caller's, and may send an end without a channel or user.
    """
    conversation = activity.conversation
    if caller:
        return joined_key(bot, "", caller, conversation.id or "")
    parts = [bot, activity.channel_id or "", conversation.id or ""]
    if conversation.is_group:
        parts.append(activity.from_.id or "")
    return joined_key(*parts)


def id_of(key: str) -> str:
    """The id of what has none of its own in the turn `key`: the same in every run of it. Pure."""
    return sha256(key.encode()).hexdigest()[:_ID_CHARACTERS]


def joined_key(*parts: str) -> str:
    """Parts joined so that different parts never give the same key."""
    return "/".join([part if _PLAIN(part) else quote(part, safe="") for part in parts])
