"""What an operator is told about a token: every rule, by the code that decides."""

from __future__ import annotations

from typing import Any

import pytest

from skills_host.auth.explain import Finding, explained
from skills_host.auth.verify import Door
from tests.auth.conftest import World
from tests.auth.issuer import BOT, FAR, PARENT, SKILL, channel_claims, minted, skill_claims


async def found(
    world: World, token: str, door: Door = Door.SKILL_HOST, **options: Any
) -> dict[str, Finding]:
    findings = await explained(world.verifier, token, door=door, bot_app_id=BOT, **options)
    assert len({finding.rule for finding in findings}) == len(findings)
    return {finding.rule: finding for finding in findings}


def refused(findings: dict[str, Finding]) -> set[str]:
    return {finding.code for finding in findings.values() if finding.verdict == "refused"}


async def test_a_good_token_passes_every_rule(world: World) -> None:
    findings = await found(world, minted(skill_claims()))

    assert {finding.verdict for finding in findings.values()} == {"passed"}
    assert findings["list"].seen == f"skill {SKILL}"
    assert list(findings)[:5] == ["header", "form", "rule set", "signing key", "signature"]


async def test_a_channels_token_is_held_to_the_channels_rules(world: World) -> None:
    token = minted(channel_claims(), kid="channel")
    findings = await found(world, token, Door.MESSAGES)

    assert not refused(findings)
    assert findings["rule set"].seen == "channel"
    assert findings["list"].seen == "channel"


async def test_every_fault_is_told_at_once(world: World) -> None:
    token = minted(skill_claims(aud=PARENT, exp=1, tid=FAR, scp="x"))
    findings = await found(world, token)

    assert refused(findings) == {"audience", "expired", "tenant-binding", "user-token"}
    assert findings["audience"].expected == BOT
    assert findings["audience"].seen == PARENT
    assert findings["audience"].setting == "bots.NAME.app_id"
    assert findings["list"].verdict == "not checked"


@pytest.mark.parametrize(
    ("code", "rule", "token", "door"),
    [
        ("bad-scheme", "header", "not a token", Door.SKILL_HOST),
        ("malformed-token", "form", "a.b.c", Door.SKILL_HOST),
        ("unknown-key", "signing key", minted(skill_claims(), kid="strange"), Door.SKILL_HOST),
        ("signature", "signature", minted(skill_claims())[:-8] + "AAAAAAAA", Door.SKILL_HOST),
        ("skill-not-allowed", "list", minted(skill_claims(azp=PARENT)), Door.SKILL_HOST),
        ("caller-not-allowed", "list", minted(skill_claims()), Door.MESSAGES),
        ("emulator-off", "list", minted(skill_claims(azp=BOT)), Door.MESSAGES),
        ("not-a-skill", "rule set", minted(channel_claims(), kid="channel"), Door.SKILL_HOST),
    ],
)
async def test_a_refusal_is_told_at_its_rule(
    world: World, code: str, rule: str, token: str, door: Door
) -> None:
    findings = await found(world, token, door)

    assert findings[rule].code == code
    assert findings[rule].fix


async def test_what_is_explained_is_what_is_decided(world: World) -> None:
    """Both say yes to the same tokens, and no for a reason that is among those told."""
    changes: list[dict[str, Any]] = [
        {},
        {"aud": PARENT},
        {"exp": 1},
        {"ver": None},
        {"azp": None},
        {"azp": BOT},
        {"azp": PARENT},
        {"idtyp": "user"},
        {"iss": "https://elsewhere"},
    ]
    for change in changes:
        token = minted(skill_claims(**change))
        for door in Door:
            told = refused(await found(world, token, door))
            try:
                await world.verifier.admit(f"Bearer {token}", door=door, bot_app_id=BOT)
                decided = set()
            except Exception as exc:
                decided = {getattr(exc, "code", "")}
            assert bool(told) == bool(decided), change
            assert decided <= told


async def test_without_keys_no_authority_is_asked(world: World) -> None:
    findings = await found(world, minted(skill_claims(), kid="strange"), with_keys=False)

    assert findings["signature"].verdict == "not checked"
    assert not refused(findings)
    assert world.issuer.asked == []


async def test_keys_that_cannot_be_had_are_told(world: World) -> None:
    world.issuer.down = True
    findings = await found(world, minted(skill_claims()))

    assert refused(findings) == {"keys-unavailable"}
