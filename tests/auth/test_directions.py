"""Who may do what, in both directions: every combination, against a model written on its own.

The model knows nothing of tokens: it says what the lists and the owner of a conversation mean.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from skills_host.auth.allowlist import AllowedSkill, Snapshot, check_owner
from skills_host.auth.denials import Denied
from skills_host.auth.keys import SigningKeys
from skills_host.auth.verify import Door, Verifier
from tests.auth.issuer import (
    BOT,
    CLOUD,
    FAR,
    HOME,
    OTHER_BOT,
    PARENT,
    SHARED,
    SKILL,
    Clock,
    Issuer,
    channel_claims,
    minted,
    skill_claims,
)

STRANGER = "66666666-6666-4666-8666-66666666aaaa"
CALLERS = ("channel", PARENT, SKILL, STRANGER, BOT)
TENANTS = {"shared": SHARED, "home": HOME, "far": FAR}
CALLER_LISTS: dict[str, frozenset[str]] = {
    "nobody": frozenset(),
    "the parent": frozenset({PARENT}),
    "the skill": frozenset({SKILL}),
    "anybody": frozenset({"*"}),
}
SKILL_TENANTS: dict[str, frozenset[str]] = {
    "any believed": frozenset(),
    "home": frozenset({HOME}),
    "far": frozenset({FAR}),
}


@dataclass(frozen=True)
class Case:
    """Who calls which of our bots where, with a token for whom, and who owns the conversation."""

    caller: str
    tenant: str
    audience: str
    door: Door
    callers: str
    skill_tenants: str
    owner: str


CASES = [
    Case(*values)
    for values in itertools.product(
        CALLERS,
        TENANTS,
        (BOT, OTHER_BOT, CLOUD.channel_scope),
        Door,
        CALLER_LISTS,
        SKILL_TENANTS,
        (SKILL, STRANGER),
    )
]


def model(case: Case) -> str:
    """What should come of it: a code, or nothing."""
    if case.caller == "channel":
        if case.door is Door.SKILL_HOST:
            return "not-a-skill"
        return "" if case.audience == BOT else "audience"
    believed = {"shared", "home"} | ({"far"} if case.skill_tenants == "far" else set())
    if case.tenant not in believed:
        return "issuer"
    if case.audience != BOT:
        return "audience"
    if case.caller == BOT:
        return "emulator-off" if case.door is Door.MESSAGES else "not-a-skill"
    if case.door is Door.MESSAGES:
        listed = {"the parent": PARENT, "the skill": SKILL}.get(case.callers)
        return "" if case.callers == "anybody" or listed == case.caller else "caller-not-allowed"
    from_its_tenant = case.skill_tenants in ("any believed", case.tenant)
    if case.caller != SKILL or not from_its_tenant:
        return "skill-not-allowed"
    return "" if case.owner == SKILL else "not-conversation-owner"


@cache
def token(caller: str, tenant: str, audience: str) -> str:
    """One token for each who and whom: signing takes longer than all else."""
    if caller == "channel":
        return minted(channel_claims(aud=audience), kid="channel")
    tid = TENANTS[tenant]
    issuer = f"https://login.microsoftonline.com/{tid}/v2.0"
    return minted(skill_claims(iss=issuer, tid=tid, azp=caller, aud=audience))


def lists_of(case: Case) -> Snapshot:
    skill = AllowedSkill(
        "echo", SKILL, "https://echo.example/api/messages", SKILL_TENANTS[case.skill_tenants]
    )
    return Snapshot(1, {"echo": skill}, {BOT: CALLER_LISTS[case.callers]})


async def decided(verifier: Verifier, case: Case) -> str:
    header = f"Bearer {token(case.caller, case.tenant, case.audience)}"
    try:
        identity = await verifier.admit(header, door=case.door, bot_app_id=BOT)
        if case.door is Door.SKILL_HOST:
            check_owner(owner_app_id=case.owner, identity=identity)
    except Denied as exc:
        return exc.code
    return ""


@pytest.mark.parametrize("door", Door)
@pytest.mark.parametrize("caller", CALLERS)
async def test_every_combination(caller: str, door: Door) -> None:
    shown: list[Any] = []
    cases = [case for case in CASES if case.caller == caller and case.door is door]
    snapshot = lists_of(cases[0])
    verifier = Verifier(
        cloud=CLOUD,
        bots={BOT: frozenset({HOME}), OTHER_BOT: frozenset()},
        keys=SigningKeys(Issuer(), now=Clock()),
        snapshot=lambda: snapshot,
        now=Clock(),
    )
    for case in cases:
        snapshot = lists_of(case)
        if (found := await decided(verifier, case)) != (expected := model(case)):
            shown.append((case, found, expected))

    assert shown == []


def test_the_combinations_are_many_and_some_may() -> None:
    outcomes = [model(case) for case in CASES]

    assert len(CASES) == 2160
    assert set(outcomes) == {
        "",
        "audience",
        "caller-not-allowed",
        "emulator-off",
        "issuer",
        "not-a-skill",
        "not-conversation-owner",
        "skill-not-allowed",
    }
