"""The lists and the verdicts over them."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from skills_host.auth.allowlist import (
    AllowedSkill,
    Snapshot,
    check_caller,
    check_owner,
    check_skill,
)
from skills_host.auth.claims import Identity
from skills_host.auth.denials import Denied
from tests.auth.issuer import BOT, FAR, HOME, OTHER_BOT, PARENT, SKILL

ECHO = AllowedSkill("echo", SKILL, "https://echo.example/api/messages")
FROM_SKILL = Identity("skill", BOT, SKILL, tenant=HOME)
FROM_PARENT = Identity("skill", BOT, PARENT, tenant=HOME)
FROM_CHANNEL = Identity("channel", BOT)


def refusal(check: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(Denied) as refused:
        check(*arguments, **named)
    return refused.value.code


# Callers


def test_an_allowed_caller_may_call() -> None:
    check_caller(Snapshot(1, callers={BOT: frozenset({PARENT})}), FROM_PARENT)


def test_an_allowed_caller_in_capitals_may_call() -> None:
    check_caller(Snapshot(1, callers={BOT.upper(): frozenset({PARENT.upper()})}), FROM_PARENT)


@pytest.mark.parametrize(
    "callers",
    [
        {},
        {BOT: frozenset()},
        {BOT: frozenset({SKILL})},
        {OTHER_BOT: frozenset({PARENT})},
        {OTHER_BOT: frozenset({"*"})},
    ],
)
def test_caller_not_allowed_is_refused(callers: dict[str, frozenset[str]]) -> None:
    assert refusal(check_caller, Snapshot(1, callers=callers), FROM_PARENT) == "caller-not-allowed"


def test_a_star_lets_any_bot_call() -> None:
    check_caller(Snapshot(1, callers={BOT: frozenset({"*"})}), FROM_PARENT)


def test_a_star_lets_no_channel_pose_as_a_caller() -> None:
    snapshot = Snapshot(1, callers={BOT: frozenset({"*"})})

    assert refusal(check_caller, snapshot, FROM_CHANNEL) == "caller-not-allowed"


def test_an_allowed_skill_is_not_an_allowed_caller() -> None:
    assert refusal(check_caller, Snapshot(1, {"echo": ECHO}), FROM_SKILL) == "caller-not-allowed"


def test_a_string_is_not_taken_for_a_set_of_callers() -> None:
    callers: Any = {BOT: "*"}

    with pytest.raises(ValueError, match="expected a set"):
        Snapshot(1, callers=callers)


# Skills


def test_an_allowed_skill_is_found_under_all_its_names() -> None:
    again = replace(ECHO, name="again")
    snapshot = Snapshot(1, {"echo": ECHO, "again": again})

    assert check_skill(snapshot, FROM_SKILL) == (ECHO, again)


def test_skill_not_allowed_is_refused() -> None:
    snapshot = Snapshot(1, {"echo": ECHO}, {BOT: frozenset({PARENT})})

    assert refusal(check_skill, snapshot, FROM_PARENT) == "skill-not-allowed"


@pytest.mark.parametrize("identity", [FROM_CHANNEL, replace(FROM_SKILL, kind="channel")])
def test_a_channel_is_no_skill(identity: Identity) -> None:
    assert refusal(check_skill, Snapshot(1, {"echo": ECHO}), identity) == "skill-not-allowed"


def test_a_skill_of_another_tenant_is_refused() -> None:
    bound = replace(ECHO, tenants=frozenset({FAR}))

    assert refusal(check_skill, Snapshot(1, {"echo": bound}), FROM_SKILL) == "skill-not-allowed"


def test_a_skill_of_its_listed_tenant_is_allowed() -> None:
    bound = replace(ECHO, tenants=frozenset({HOME.upper()}))

    assert check_skill(Snapshot(1, {"echo": bound}), FROM_SKILL) == (bound,)


def test_a_snapshot_knows_the_tenants_of_its_skills() -> None:
    bound = replace(ECHO, tenants=frozenset({FAR}))

    assert Snapshot(1, {"echo": bound}).tenants == {FAR}


def test_an_app_id_that_is_no_uuid_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        AllowedSkill("echo", "echo", "https://echo.example")


# Owners


def test_the_owner_of_a_conversation_may_use_it() -> None:
    check_owner(owner_app_id=SKILL.upper(), identity=FROM_SKILL)


@pytest.mark.parametrize("identity", [FROM_PARENT, FROM_CHANNEL])
@pytest.mark.parametrize("owner", [SKILL, ""])
def test_not_conversation_owner_is_refused(identity: Identity, owner: str) -> None:
    found = refusal(check_owner, owner_app_id=owner, identity=identity)

    assert found == "not-conversation-owner"


# Values


def test_a_snapshot_cannot_be_changed() -> None:
    skills = {"echo": ECHO}
    snapshot = Snapshot(1, skills)
    skills.clear()

    assert snapshot.skills_of(SKILL) == (ECHO,)
    with pytest.raises(FrozenInstanceError):
        snapshot.epoch = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        snapshot.skills["other"] = ECHO  # type: ignore[index]
