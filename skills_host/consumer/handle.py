"""Handles: the conversation ids that skills see, unguessable and bound to one skill.

    base64url(version 1 | key id 1 | region 2 | random 16 | owner tag 8 | tag 16)

44 bytes, 59 characters, no padding. The tag covers all before it, so a handle of ours is known
without reading anything; the owner tag names the pair (our app id, skill's app id), so a handle
in the wrong hands is refused before it is looked up. It is an identifier: it carries no content.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from skills_host.auth.denials import Denied
from skills_host.errors import SkillsHostError, UnknownConversation
from skills_host.store.seal import HostKey, Keys

__all__ = ["Handles", "check_handle", "is_handle", "new_handle"]

VERSION = 1
RANDOM_BYTES = 16
OWNER_BYTES = 8
TAG_BYTES = 16
OWNER_AT = 20
TAG_AT = OWNER_AT + OWNER_BYTES
SHAPE = re.compile(r"[A-Za-z0-9_-]{59}")


def new_handle(
    keys: Keys, *, host_app_id: str, skill_app_id: str, random: bytes, region: int = 0
) -> str:
    """A handle for one conversation with one skill, signed with the current key.

    `random` is 16 fresh random bytes and `region` fits 16 bits; `ValueError` for anything else
    and for an app id that is not a UUID.
    """
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"a handle takes {RANDOM_BYTES} random bytes")
    if not 0 <= region <= 0xFFFF:
        raise ValueError("a region is a number of 16 bits")
    key = keys.current
    head = bytes([VERSION, key.id]) + region.to_bytes(2, "big") + random
    signed = head + _owner_tag(key, host_app_id, skill_app_id)
    return _text(signed + _tag(key, signed))


@dataclass(frozen=True, slots=True)
class Handles:
    """The handles that one bot gives its skills; `random` makes so many fresh random bytes."""

    keys: Keys
    host_app_id: str
    random: Callable[[int], bytes]

    def new(self, skill_app_id: str) -> str:
        """A handle for one conversation with a skill."""
        return new_handle(
            self.keys,
            host_app_id=self.host_app_id,
            skill_app_id=skill_app_id,
            random=self.random(RANDOM_BYTES),
        )

    def is_of(self, handle: str, skill_app_id: str) -> bool:
        """True if the handle was made for the skill with this app id."""
        try:
            check_handle(self.keys, handle, host_app_id=self.host_app_id, skill_app_id=skill_app_id)
        except SkillsHostError:
            return False
        return True


def check_handle(keys: Keys, handle: str, *, host_app_id: str, skill_app_id: str) -> None:
    """Accept a handle that this host made for this skill.

    Raises `UnknownConversation` for what no key of ours made, and `Denied` with
    `not-conversation-owner` for what was made for another pair of bots.
    """
    raw = _raw(handle)
    key = _signer(keys, raw)
    if not hmac.compare_digest(raw[OWNER_AT:TAG_AT], _owner_tag(key, host_app_id, skill_app_id)):
        raise Denied("not-conversation-owner")


def is_handle(text: str) -> bool:
    """True for what looks like a handle, whoever made it."""
    return SHAPE.fullmatch(text) is not None


def _raw(handle: str) -> bytes:
    if not SHAPE.fullmatch(handle):
        raise UnknownConversation
    raw = base64.urlsafe_b64decode(handle + "=")
    # The last character has two bits to spare: only one of its four spellings is the handle.
    if raw[0] != VERSION or _text(raw) != handle:
        raise UnknownConversation
    return raw


def _signer(keys: Keys, raw: bytes) -> HostKey:
    for key in keys.with_id(raw[1]):
        if hmac.compare_digest(raw[TAG_AT:], _tag(key, raw[:TAG_AT])):
            return key
    raise UnknownConversation


def _owner_tag(key: HostKey, host_app_id: str, skill_app_id: str) -> bytes:
    pair = UUID(host_app_id).bytes + UUID(skill_app_id).bytes
    return key.mac(b"handle owner", pair, OWNER_BYTES)


def _tag(key: HostKey, signed: bytes) -> bytes:
    return key.mac(b"handle", signed, TAG_BYTES)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
