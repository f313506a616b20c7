"""Who administers the host with a token of Entra's: one more rule set over verified claims. Pure.

It admits users and applications alike, by their app roles; what channels and skills may come in
with opens nothing here, for it is made out to another audience.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from skills_host.auth.claims import Rule, claim_text, entra_rules
from skills_host.auth.denials import Denied
from skills_host.clouds import Cloud, canonical_app_id

__all__ = ["Principal", "principal_of", "principal_rules"]

MOST_ROLES = 100


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody by the name that the audit trail has, with the roles that were claimed."""

    name: str
    roles: frozenset[str]


def principal_rules(
    claims: Mapping[str, Any],
    *,
    audience: str,
    tenants: AbstractSet[str],
    cloud: Cloud,
    now: float,
) -> tuple[Rule, ...]:
    """What an administrator's token of Entra's is held to, in this order."""
    return (
        *entra_rules(claims, tenants=tenants, cloud=cloud, now=now),
        Rule("audience", lambda: _check_audience(claims, audience)),
        Rule("object id", lambda: _object_id(claims)),
        Rule("roles", lambda: _roles(claims)),
    )


def principal_of(
    claims: Mapping[str, Any],
    *,
    audience: str,
    tenants: AbstractSet[str],
    cloud: Cloud,
    now: float,
) -> Principal:
    """Who comes with these verified claims, from one of `tenants`.

    Raises `Denied`: `anonymous-off`, `version`, `bad-claim`, `expired`, `not-yet-valid`, `issuer`,
    `tenant-binding`, `several-audiences`, `audience`.
    """
    rules = principal_rules(claims, audience=audience, tenants=tenants, cloud=cloud, now=now)
    found = {rule.name: rule.check() for rule in rules}
    _, tenant = found["issuer"]
    return Principal(f"entra:{tenant}/{found['object id']}", found["roles"])


def _check_audience(claims: Mapping[str, Any], audience: str) -> None:
    if isinstance(claims.get("aud"), list):
        raise Denied("several-audiences", expected=audience)
    seen = claim_text(claims, "aud")
    if seen != audience:
        raise Denied("audience", expected=audience, seen=seen)


def _object_id(claims: Mapping[str, Any]) -> str:
    text = claim_text(claims, "oid")
    try:
        return canonical_app_id(text)
    except ValueError:
        raise Denied("bad-claim", expected="a UUID as oid") from None


def _roles(claims: Mapping[str, Any]) -> frozenset[str]:
    given: Iterable[Any] = claims.get("roles", [])
    is_list = isinstance(given, list) and len(given) <= MOST_ROLES
    if not is_list or not all(isinstance(role, str) for role in given):
        raise Denied("bad-claim", expected="a list of strings as roles")
    return frozenset(given)
