"""Words of a user that are kept to be said again: after a question, to another skill. Pure."""

from __future__ import annotations

from skills_host.activity import Activity
from skills_host.wire import decode_members, encode, encode_members

__all__ = ["kept", "said_again", "text_of"]

KEPT = 16 * 1024  # bytes
_MEMBERS = ("text", "textFormat", "attachments", "value", "entities", "locale")


def kept(activity: Activity) -> str:
    """What was said, to be stored; empty if it is no message, or is too large to be kept."""
    if activity.type != "message":
        return ""
    raws = {name: raw for name in _MEMBERS if (raw := activity.raw(name)) is not None}
    body = encode_members(raws)
    if len(body) > KEPT:
        body = encode_members({"text": encode((activity.text or "")[: KEPT // 4])})
    return body.decode()


def said_again(said: str) -> Activity:
    """The message that was kept, without id and addresses."""
    return Activity.make("message").with_raw(decode_members(said.encode()))


def text_of(said: str) -> str:
    """The text of what was kept; empty if nothing was."""
    return (said_again(said).text or "") if said else ""
