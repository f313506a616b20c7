"""Who a token speaks for: pure rules over the claims of a token, and the identity they give.

The functions that give an `Identity` must be called with verified claims only; `app_id_of` and
`is_skill_claims` may also be used before, to choose the rules that a token is then held to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from skills_host.auth.denials import Denied
from skills_host.settings import CLOUDS, Cloud
from skills_host.wire import decode, encode

__all__ = [
    "SKEW",
    "Identity",
    "Rule",
    "app_id_of",
    "channel_identity",
    "channel_rules",
    "claim_text",
    "entra_rules",
    "is_skill_claims",
    "skill_identity",
    "skill_rules",
]

SKEW = 300.0
"""Seconds by which the clocks of issuer and host may differ."""

ANONYMOUS = "AnonymousSkill"
APP_ID_CLAIMS = {"": "appid", "1.0": "appid", "2.0": "azp"}
CHANNEL_AUDIENCES = frozenset(cloud.channel_scope.lower() for cloud in CLOUDS.values())
LATEST = 1e12
UUID_FORM = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ZEROS = str(UUID(int=0))

Claims = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified peer; its repr shows the kind and the app ids and no other claim.

    `bot_app_id` is the app id of ours that the token is for, `app_id` the peer's ("" for a
    channel, our own for an emulator), both canonical UUIDs. `service_url` is what a channel's
    token vouches for, `endorsements` the channels its key may speak for (None: the key names
    none), `expires` in seconds since the epoch.
    """

    kind: Literal["channel", "skill", "emulator"]
    bot_app_id: str
    app_id: str = ""
    tenant: str = field(default="", repr=False)
    issuer: str = field(default="", repr=False)
    service_url: str = field(default="", repr=False)
    endorsements: frozenset[str] | None = field(default=None, repr=False)
    expires: float = field(default=0.0, repr=False)

    def encode(self) -> bytes:
        """The identity as it is stored with what it sent."""
        endorsed = None if self.endorsements is None else sorted(self.endorsements)
        members = {name: getattr(self, name) for name in self.__slots__}
        return encode(members | {"endorsements": endorsed})

    @classmethod
    def parse(cls, body: bytes) -> Identity:
        """The identity from its own `encode()`."""
        stored = decode(body)
        endorsed = stored.pop("endorsements")
        return cls(**stored, endorsements=None if endorsed is None else frozenset(endorsed))


def app_id_of(claims: Claims) -> str:
    """The calling application as a canonical UUID: `appid` or `azp`, as the token's version says.

    Raises `Denied`: `version`, `bad-claim` or `no-app-id`.
    """
    version = claim_text(claims, "ver")
    if version not in APP_ID_CLAIMS:
        raise Denied("version", expected="1.0 or 2.0", seen=version)
    name = APP_ID_CLAIMS[version]
    app_id = _canonical(claim_text(claims, name))
    if not app_id:
        raise Denied("no-app-id", expected=f"a UUID as {name}", seen=claim_text(claims, name))
    return app_id


def is_skill_claims(claims: Claims, cloud: Cloud) -> bool:
    """True if the claims have the shape of one bot's token for another bot.

    The name that stands for "no authentication" counts too, so that the skill rules refuse it.
    """
    if ANONYMOUS in (claims.get("appid"), claims.get("azp")):
        return True
    try:
        version, audience = claim_text(claims, "ver"), claim_text(claims, "aud")
        app_id = app_id_of(claims)
    except Denied:
        return False
    if not version.strip() or not audience.strip():
        return False
    if audience.lower() in CHANNEL_AUDIENCES | {cloud.channel_scope.lower()}:
        return False
    return app_id != _canonical(audience)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule about verified claims: `check` gives what it found, or raises `Denied`."""

    name: str
    check: Callable[[], Any]


def entra_rules(
    claims: Claims, *, tenants: AbstractSet[str], cloud: Cloud, now: float
) -> tuple[Rule, ...]:
    """What every token of Entra's is held to first, in this order, whomever it is made out to."""
    return (
        Rule("authentication", lambda: _check_not_anonymous(claims)),
        Rule("version", lambda: _checked_version(claims)),
        Rule("lifetime", lambda: _checked_lifetime(claims, now)),
        Rule("issuer", lambda: _checked_issuer(claims, cloud.issuers, tenants)),
    )


def skill_rules(
    claims: Claims, *, bot_app_id: str, tenants: AbstractSet[str], cloud: Cloud, now: float
) -> tuple[Rule, ...]:
    """What a skill's token of Entra's is held to, in this order; see `skill_identity`."""
    return (
        *entra_rules(claims, tenants=tenants, cloud=cloud, now=now),
        Rule("audience", lambda: _check_audience(claims, bot_app_id)),
        Rule("app id", lambda: app_id_of(claims)),
        Rule("application only", lambda: _check_app_only(claims)),
    )


def channel_rules(claims: Claims, *, bot_app_id: str, cloud: Cloud, now: float) -> tuple[Rule, ...]:
    """What a channel's token is held to, in this order; see `channel_identity`."""
    return (
        Rule("authentication", lambda: _check_not_anonymous(claims)),
        Rule("lifetime", lambda: _checked_lifetime(claims, now)),
        Rule("issuer", lambda: _checked_channel_issuer(claims, cloud)),
        Rule("audience", lambda: _check_audience(claims, bot_app_id)),
        Rule("application only", lambda: _check_app_only(claims)),
        Rule("service url", lambda: claim_text(claims, "serviceurl")),
    )


def skill_identity(
    claims: Claims,
    *,
    bot_app_id: str,
    tenants: AbstractSet[str],
    cloud: Cloud,
    now: float,
    own: Literal["refused", "off", "allowed"] = "refused",
) -> Identity:
    """The bot that calls with these verified claims, coming from one of `tenants`.

    `own` says what becomes of a token that was issued to the bot itself: it is an emulator's.
    Raises `Denied` with the reason: see the table, from `version` to `user-token`.
    """
    rules = skill_rules(claims, bot_app_id=bot_app_id, tenants=tenants, cloud=cloud, now=now)
    found = {rule.name: rule.check() for rule in rules}
    app_id, (issuer, tenant) = found["app id"], found["issuer"]
    kind: Literal["skill", "emulator"] = "skill"
    if app_id == bot_app_id:
        kind = _emulator(own, app_id)
    return Identity(
        kind, bot_app_id, app_id, tenant=tenant, issuer=issuer, expires=found["lifetime"]
    )


def channel_identity(
    claims: Claims,
    *,
    bot_app_id: str,
    cloud: Cloud,
    now: float,
    endorsements: frozenset[str] | None = None,
) -> Identity:
    """The channel that calls with these verified claims; `endorsements` are those of the key.

    Raises `Denied` with the reason.
    """
    rules = channel_rules(claims, bot_app_id=bot_app_id, cloud=cloud, now=now)
    found = {rule.name: rule.check() for rule in rules}
    return Identity(
        "channel",
        bot_app_id,
        issuer=found["issuer"],
        service_url=found["service url"],
        endorsements=endorsements,
        expires=found["lifetime"],
    )


def _emulator(own: str, app_id: str) -> Literal["emulator"]:
    if own == "refused":
        raise Denied("not-a-skill", expected="another bot's app id", seen=app_id)
    if own == "off":
        raise Denied("emulator-off", expected="another bot's app id", seen=app_id)
    return "emulator"


def _checked_version(claims: Claims) -> str:
    """The token's version. Raises `Denied("version")`."""
    version = claim_text(claims, "ver")
    if not version:
        raise Denied("version", expected="1.0 or 2.0")
    return version


def _checked_channel_issuer(claims: Claims, cloud: Cloud) -> str:
    issuer = claim_text(claims, "iss")
    if issuer != cloud.channel_issuer:
        raise Denied("issuer", expected=cloud.channel_issuer, seen=issuer)
    return issuer


def claim_text(claims: Claims, name: str) -> str:
    """A claim that is a string, empty where there is none. Raises `Denied("bad-claim")`."""
    value = claims.get(name, "")
    if not isinstance(value, str):
        raise Denied("bad-claim", expected=f"a string as {name}", seen=type(value).__name__)
    return value


def _instant(claims: Claims, name: str) -> float:
    value = claims[name]
    # The bound also keeps out NaN, infinities and integers that no float can hold.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LATEST:
        raise Denied("bad-claim", expected=f"seconds as {name}", seen=type(value).__name__)
    return float(value)


def _canonical(text: str) -> str:
    lowered = text.lower()
    return lowered if UUID_FORM.fullmatch(lowered) and lowered != ZEROS else ""


def _check_not_anonymous(claims: Claims) -> None:
    """Raise `Denied("anonymous-off")` for the name that stands for no authentication."""
    if ANONYMOUS in (claims.get("appid"), claims.get("azp")):
        raise Denied("anonymous-off", expected="an app id", seen=ANONYMOUS)


def _checked_lifetime(claims: Claims, now: float) -> float:
    """When the token expires. Raises `Denied`: `bad-claim`, `expired`, `not-yet-valid`."""
    if "exp" not in claims:
        raise Denied("bad-claim", expected="seconds as exp")
    expires = _instant(claims, "exp")
    if now >= expires + SKEW:
        raise Denied("expired", expected=f"before {expires + SKEW:.0f}", seen=f"{now:.0f}")
    if "nbf" in claims:
        begins = _instant(claims, "nbf")
        if now < begins - SKEW:
            raise Denied("not-yet-valid", expected=f"from {begins - SKEW:.0f}", seen=f"{now:.0f}")
    return expires


def _checked_issuer(
    claims: Claims, templates: Iterable[str], tenants: AbstractSet[str]
) -> tuple[str, str]:
    """The issuer and its tenant, one of `tenants`. Raises `Denied`: `issuer`, `tenant-binding`."""
    issuer = claim_text(claims, "iss")
    for template in templates:
        before, _, after = template.partition("{tid}")
        tenant = issuer[len(before) : len(issuer) - len(after)]
        if tenant in tenants and issuer == before + tenant + after:
            break
    else:
        raise Denied("issuer", expected=f"one of {len(tenants)} tenants", seen=issuer)
    if _canonical(claim_text(claims, "tid")) != tenant:
        raise Denied("tenant-binding", expected=tenant, seen=claim_text(claims, "tid"))
    return issuer, tenant


def _check_audience(claims: Claims, bot_app_id: str) -> None:
    if isinstance(claims.get("aud"), list):
        raise Denied("several-audiences", expected=bot_app_id)
    audience = claim_text(claims, "aud")
    if not bot_app_id or _canonical(audience) != bot_app_id:
        raise Denied("audience", expected=bot_app_id, seen=audience)


def _check_app_only(claims: Claims) -> None:
    if "scp" in claims:
        raise Denied("user-token", expected="no scp")
    if claims.get("idtyp", "app") != "app":
        raise Denied("user-token", expected="app as idtyp")
