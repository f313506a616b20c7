"""Which kinds of apps can talk: every pair, against the rules as they are published."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from skills_host.auth.pairing import AppKind, Party, pairing, party_of, peer_of
from skills_host.settings import BotSettings

A = "c0000000-0000-4000-8000-00000000000a"
B = "c0000000-0000-4000-8000-00000000000b"
SHARED = "d6d49420-f39b-4df7-a1dc-d59a935871db"
PARTIES = [
    Party(AppKind.MULTI_TENANT),
    *(Party(AppKind.SINGLE_TENANT, frozenset({tenant})) for tenant in (A, B)),
    *(Party(AppKind.MANAGED_IDENTITY, frozenset({tenant})) for tenant in (A, B)),
    Party(AppKind.UNKNOWN),
]


def model(consumer: Party, skill: Party, calls_back: bool) -> str:
    """The rules once more: tokens are asked for in the consumer's tenant, and in the skill's."""
    if skill.kind is AppKind.MANAGED_IDENTITY:
        return "managed-identity-audience"
    if calls_back and consumer.kind is AppKind.MANAGED_IDENTITY:
        return "managed-identity-audience"
    if AppKind.UNKNOWN in (consumer.kind, skill.kind):
        return ""
    home = {"consumer": consumer.tenants or {"any"}, "skill": skill.tenants or {"any"}}
    return "" if set(home["consumer"]) & set(home["skill"]) else "tenants-do-not-pair"


@pytest.mark.parametrize("calls_back", [True, False])
@pytest.mark.parametrize(("consumer", "skill"), list(itertools.product(PARTIES, PARTIES)))
def test_every_pair(consumer: Party, skill: Party, calls_back: bool) -> None:
    found = pairing(consumer, skill, calls_back=calls_back)

    assert found.code == model(consumer, skill, calls_back)
    assert bool(found.fix) == bool(found.why) == bool(found.code)


def bot(**more: Any) -> BotSettings:
    given = {"kind": "root", "app_id": A, "credential": {"secret": "s"}}
    return BotSettings.model_validate(given | more)


def test_what_settings_say_of_our_own_bots() -> None:
    managed = {"identity": "user-assigned"}
    federated = {"identity": "federated"}

    assert party_of(bot()) == Party(AppKind.MULTI_TENANT)
    assert party_of(bot(tenant=B)) == Party(AppKind.SINGLE_TENANT, frozenset({B}))
    assert party_of(bot(tenant=B, credential=managed)) == Party(
        AppKind.MANAGED_IDENTITY, frozenset({B})
    )
    assert party_of(bot(tenant=B, credential=federated)).kind is AppKind.SINGLE_TENANT


def test_what_settings_say_of_skills() -> None:
    assert peer_of([], shared=[SHARED]).kind is AppKind.UNKNOWN
    assert peer_of([SHARED], shared=[SHARED]) == Party(AppKind.MULTI_TENANT, frozenset({SHARED}))
    assert peer_of([A], shared=[SHARED]) == Party(AppKind.SINGLE_TENANT, frozenset({A}))
