"""Which kinds of apps can talk to each other as consumer and skill, and why others cannot. Pure.

A consumer asks its own tenant for a token whose audience is the skill, and a skill that calls back
asks its own for one whose audience is the consumer. So each must be known where the other asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from skills_host.settings import BotSettings, IdentityKind

__all__ = ["AppKind", "Pairing", "Party", "pairing", "party_of", "peer_of"]


class AppKind(StrEnum):
    """What kind of app registration a bot has; `unknown` is a peer of whom no tenant is listed."""

    MULTI_TENANT = "multi-tenant"
    SINGLE_TENANT = "single-tenant"
    MANAGED_IDENTITY = "managed identity"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Party:
    """One side; `tenants` are those that its tokens may come from."""

    kind: AppKind
    tenants: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Pairing:
    """Whether two parties can talk: `code` is empty if they can, and says why not otherwise."""

    code: str = ""
    why: str = ""
    fix: str = ""


FINE = Pairing()
MANAGED_AUDIENCE = (
    "an app registration of its own can be one, and the managed identity can prove it:"
    ' credential = { identity = "federated" }'
)


def party_of(bot: BotSettings) -> Party:
    """What kind of app one of our own bots is, as its settings say."""
    managed = (IdentityKind.SYSTEM_ASSIGNED, IdentityKind.USER_ASSIGNED)
    tenants = frozenset(filter(None, (bot.tenant,)))
    if bot.credential.identity in managed:
        return Party(AppKind.MANAGED_IDENTITY, tenants)
    return Party(AppKind.SINGLE_TENANT if tenants else AppKind.MULTI_TENANT, tenants)


def peer_of(tenants: Iterable[str], *, shared: Iterable[str]) -> Party:
    """What kind of app a skill is, as far as the tenants that are listed for it tell.

    Tokens of the `shared` tenants are those of multi-tenant apps.
    """
    listed = frozenset(tenants)
    if not listed:
        return Party(AppKind.UNKNOWN)
    if listed <= frozenset(shared):
        return Party(AppKind.MULTI_TENANT, listed)
    return Party(AppKind.SINGLE_TENANT, listed)


def pairing(consumer: Party, skill: Party, *, calls_back: bool) -> Pairing:
    """Whether the two can talk; with `calls_back` the skill needs tokens for the consumer too."""
    if skill.kind is AppKind.MANAGED_IDENTITY:
        return Pairing("managed-identity-audience", _no_audience("the skill"), MANAGED_AUDIENCE)
    if consumer.kind is AppKind.MANAGED_IDENTITY and calls_back:
        return Pairing(
            "managed-identity-audience",
            _no_audience("the root"),
            f'{MANAGED_AUDIENCE}; or the skill\'s delivery = "expectReplies"',
        )
    if AppKind.UNKNOWN in (consumer.kind, skill.kind):
        return FINE
    multi = {consumer.kind, skill.kind} & {AppKind.MULTI_TENANT}
    if len({consumer.kind, skill.kind}) > 1 and multi:
        return Pairing(
            "tenants-do-not-pair",
            f"a {consumer.kind} root and a {skill.kind} skill are not known in one tenant",
            "register both as single-tenant apps of one tenant",
        )
    if not multi and not consumer.tenants & skill.tenants:
        return Pairing(
            "tenants-do-not-pair",
            "the root's tenant is not among those of the skill",
            "register both in one tenant, or mend the skill's tenants",
        )
    return FINE


def _no_audience(who: str) -> str:
    return f"{who} is a managed identity, and nobody gets a token for one"
