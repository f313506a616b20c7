"""From an Authorization header to an identity that may enter, before a byte of body is read.

There are two rule sets, the channels' and the skills'; unverified claims only choose between them.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from collections import OrderedDict
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any, Literal, Protocol, TypeVar

from jwt.algorithms import RSAAlgorithm

from skills_host.auth.allowlist import Snapshot, SnapshotSource, check_caller, check_skill
from skills_host.auth.claims import (
    SKEW,
    Identity,
    Rule,
    channel_identity,
    channel_rules,
    is_skill_claims,
    skill_identity,
    skill_rules,
)
from skills_host.auth.denials import Denied
from skills_host.auth.keys import SigningKey, SigningKeys
from skills_host.settings import Cloud, canonical_app_id
from skills_host.transport import allow_loopback

__all__ = [
    "HEADER_CHARACTERS",
    "Addressed",
    "Door",
    "ParsedToken",
    "Verifier",
    "bearer_token",
    "check_signature",
    "parsed_token",
]

ALGORITHM = "RS256"
EMULATOR = "emulator"
HEADER_CHARACTERS = 16 * 1024
KEY_ID_CHARACTERS = 256
TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")

_KeyT = TypeVar("_KeyT")
_ValueT = TypeVar("_ValueT")

# Every rule about header and claims is ours; the library checks the signature.
RS256 = RSAAlgorithm(RSAAlgorithm.SHA256)


class Door(StrEnum):
    """Where a request comes in: what users and parents call, or what skills call back."""

    MESSAGES = "messages"
    SKILL_HOST = "skill-host"


class Addressed(Protocol):
    """What of an activity must agree with the token it came with."""

    @property
    def channel_id(self) -> str | None:
        """The activity's `channelId`."""

    @property
    def service_url(self) -> str | None:
        """The activity's `serviceUrl`."""


@dataclass(frozen=True, slots=True)
class ParsedToken:
    """A token whose signature is not checked yet."""

    kid: str = field(repr=False)
    claims: Mapping[str, Any] = field(repr=False)


def bearer_token(header: str | None) -> str:
    """The token of an Authorization header; nothing about it is verified.

    Raises `Denied`: `no-header`, `token-too-long`, `bad-scheme` or `malformed-token`.
    """
    if header is None or not header.strip():
        raise Denied("no-header")
    if len(header) > HEADER_CHARACTERS:
        raise Denied("token-too-long", seen=f"{len(header)} characters")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token or " " in token:
        raise Denied("bad-scheme", expected="Bearer TOKEN")
    if not TOKEN.fullmatch(token):
        raise Denied("malformed-token")
    return token


@dataclass(frozen=True, slots=True)
class _Admitted:
    """Who was admitted with a token, and all that this was decided by."""

    identity: Identity
    authority: str
    key: SigningKey
    snapshot: Snapshot
    since: float


class Verifier:
    """Admits who may enter and binds what they send to who they are.

    `bots` gives for each app id of ours the tenants it belongs to, `emulators` those app ids whose
    bots take tokens that were issued to themselves. Signatures found good are
    remembered for at most `remember` admitted tokens, until any signing key changes. Who was
    admitted is remembered as well, while the token is valid, for as long as its key and the
    snapshot are the very ones that it was decided by.
    """

    def __init__(
        self,
        *,
        cloud: Cloud,
        bots: Mapping[str, AbstractSet[str]],
        keys: SigningKeys,
        snapshot: SnapshotSource,
        now: Callable[[], float],
        emulators: AbstractSet[str] = frozenset(),
        remember: int = 4096,
    ) -> None:
        shared = frozenset(cloud.shared_tenants)
        self._cloud = cloud
        self._tenants = {canonical_app_id(bot): shared | own for bot, own in bots.items()}
        self._keys = keys
        self._snapshot = snapshot
        self._now = now
        self._emulators = frozenset(map(canonical_app_id, emulators))
        self._remember = remember
        self._good: OrderedDict[bytes, ParsedToken] = OrderedDict()
        self._admitted: OrderedDict[tuple[bytes, Door, str], _Admitted] = OrderedDict()
        self._generation = keys.generation

    async def admit(self, header: str | None, *, door: Door, bot_app_id: str) -> Identity:
        """Who calls our bot `bot_app_id` (one of `bots`) at `door`. Raises `Denied`."""
        token = bearer_token(header)
        digest = sha256(token.encode()).digest()
        mark = (digest, door, bot_app_id)
        known = self._admitted.get(mark)
        if known is not None and await self._is_unchanged(known):
            self._note(self._admitted, mark, known)
            if digest in self._good:
                self._good.move_to_end(digest)
            return known.identity
        parsed = self._good.get(digest) or parsed_token(token)
        is_channel = self.is_channel(parsed.claims, door)
        key = await self.signing_key(parsed, is_channel=is_channel)
        if digest not in self._still_good():
            check_signature(token, key)
        # Taken before it is asked: a newer one that comes meanwhile decides next time.
        snapshot, since = self._snapshot(), self._now()
        identity = self.identified(parsed, key, door, bot_app_id)
        self._note_good(digest, parsed)
        authority = self._authority(is_channel=is_channel)
        self._note(self._admitted, mark, _Admitted(identity, authority, key, snapshot, since))
        return identity

    def bind(self, identity: Identity, activity: Addressed) -> None:
        """Raise `Denied` (`service-url`, `endorsement`) unless the activity fits the identity."""
        if identity.kind == "emulator":
            _check_emulated(activity)
        if identity.kind != "channel":
            return
        claimed, sent = identity.service_url, activity.service_url or ""
        if not claimed or not sent or _comparable(claimed) != _comparable(sent):
            raise Denied("service-url", expected=claimed, seen=sent)
        endorsed = identity.endorsements
        if endorsed is not None and activity.channel_id not in endorsed:
            raise Denied("endorsement", seen=activity.channel_id or "")

    def is_channel(self, claims: Mapping[str, Any], door: Door) -> bool:
        """Whether unverified claims are to be held to the channels' rules, or to the skills'.

        Raises `Denied("not-a-skill")` for a channel's where only skills may come.
        """
        # What neither rule set can admit goes to the skills', which say best what is wrong.
        issued = claims.get("iss") == self._cloud.channel_issuer
        found = issued and not is_skill_claims(claims, self._cloud)
        if found and door is not Door.MESSAGES:
            raise Denied("not-a-skill", expected="a skill's token", seen="a channel's token")
        return found

    async def signing_key(self, parsed: ParsedToken, *, is_channel: bool) -> SigningKey:
        """The key that the token names, of the authority whose rules it is held to.

        Raises `Denied`: `unknown-key` or `keys-unavailable`.
        """
        return await self._keys.key(self._authority(is_channel=is_channel), parsed.kid)

    def rules(
        self, claims: Mapping[str, Any], *, is_channel: bool, bot_app_id: str
    ) -> tuple[Rule, ...]:
        """The rules that the claims are held to, one by one."""
        if is_channel:
            return channel_rules(claims, bot_app_id=bot_app_id, cloud=self._cloud, now=self._now())
        return skill_rules(
            claims,
            bot_app_id=bot_app_id,
            tenants=self._believed(bot_app_id),
            cloud=self._cloud,
            now=self._now(),
        )

    def identified(
        self, parsed: ParsedToken, key: SigningKey | None, door: Door, bot_app_id: str
    ) -> Identity:
        """Who calls with claims that are taken as verified, and may. Raises `Denied`."""
        if self.is_channel(parsed.claims, door):
            return self._channel(parsed.claims, key, bot_app_id)
        return self._skill(parsed.claims, door, bot_app_id)

    def _believed(self, bot_app_id: str) -> AbstractSet[str]:
        return self._tenants[bot_app_id] | self._snapshot().tenants

    def _channel(
        self, claims: Mapping[str, Any], key: SigningKey | None, bot_app_id: str
    ) -> Identity:
        return channel_identity(
            claims,
            bot_app_id=bot_app_id,
            cloud=self._cloud,
            now=self._now(),
            endorsements=None if key is None else key.endorsements,
        )

    def _skill(self, claims: Mapping[str, Any], door: Door, bot_app_id: str) -> Identity:
        own: Literal["refused", "off", "allowed"] = "refused"
        if door is Door.MESSAGES:
            own = "allowed" if bot_app_id in self._emulators else "off"
        identity = skill_identity(
            claims,
            bot_app_id=bot_app_id,
            tenants=self._believed(bot_app_id),
            cloud=self._cloud,
            now=self._now(),
            own=own,
        )
        if identity.kind == "emulator":
            return identity
        if door is Door.MESSAGES:
            check_caller(self._snapshot(), identity)
        else:
            check_skill(self._snapshot(), identity)
        return identity

    def _still_good(self) -> OrderedDict[bytes, ParsedToken]:
        if self._generation != self._keys.generation:
            self._generation = self._keys.generation
            self._good.clear()
        return self._good

    def _authority(self, *, is_channel: bool) -> str:
        return self._cloud.channel_metadata if is_channel else self._cloud.entra_metadata

    async def _is_unchanged(self, known: _Admitted) -> bool:
        """True if everything that a token was admitted by is what it was. Raises `Denied`."""
        # Asked for every time: this is what has the keys fetched again when they are old.
        key = await self._keys.key(known.authority, known.key.kid)
        return (
            key is known.key
            and self._snapshot() is known.snapshot
            and known.since <= self._now() < known.identity.expires + SKEW
        )

    def _note_good(self, digest: bytes, parsed: ParsedToken) -> None:
        self._note(self._good, digest, parsed)

    def _note(self, noted: OrderedDict[_KeyT, _ValueT], key: _KeyT, value: _ValueT) -> None:
        noted[key] = value
        noted.move_to_end(key)
        if len(noted) > self._remember:
            noted.popitem(last=False)


def parsed_token(token: str) -> ParsedToken:
    """The key id and the claims of a token; nothing about them is verified.

    Raises `Denied`: `malformed-token`, `algorithm` or `critical-header`.
    """
    header, payload, signature = token.split(".")
    kid = _key_id(_object(header))
    # Only what is well-formed throughout has its key looked for.
    _decoded(signature)
    return ParsedToken(kid, _object(payload))


def _object(segment: str) -> Mapping[str, Any]:
    try:
        found = json.loads(_decoded(segment))
    except (ValueError, RecursionError):
        raise Denied("malformed-token") from None
    if not isinstance(found, dict):
        raise Denied("malformed-token")
    return found


def _decoded(segment: str) -> bytes:
    try:
        return urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError:
        raise Denied("malformed-token") from None


def _key_id(header: Mapping[str, Any]) -> str:
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm != ALGORITHM:
        raise Denied("algorithm", expected=ALGORITHM, seen=str(algorithm)[:32])
    if header.get("b64", True) is not True:
        raise Denied("malformed-token")
    if "crit" in header:
        raise Denied("critical-header")
    if not isinstance(kid, str) or not 0 < len(kid) <= KEY_ID_CHARACTERS:
        raise Denied("malformed-token", expected="a kid")
    return kid


def check_signature(token: str, key: SigningKey) -> None:
    """Raise `Denied("signature")` unless the key signed the token, which was parsed before."""
    # The algorithm is ours to say, not the token's: `parsed_token` refuses any other.
    signed, _, signature = token.rpartition(".")
    if not RS256.verify(signed.encode("ascii"), key.key, _decoded(signature)):
        raise Denied("signature", seen=key.kid)


def _check_emulated(activity: Addressed) -> None:
    """An emulator is on this machine, so that our token for channels never leaves it."""
    service_url = activity.service_url or ""
    if not allow_loopback(service_url):
        raise Denied("service-url", expected="a loopback address", seen=service_url)
    if activity.channel_id != EMULATOR:
        raise Denied("endorsement", expected=EMULATOR, seen=activity.channel_id or "")


def _comparable(url: str) -> str:
    """An address without one trailing slash, with scheme and host in lower case."""
    origin = ORIGIN.match(url)
    end = origin.end() if origin else 0
    return (url[:end].lower() + url[end:]).removesuffix("/")
