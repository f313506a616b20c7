"""The pure rules over claims."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills_host.auth.claims import (
    Identity,
    app_id_of,
    channel_identity,
    is_skill_claims,
    skill_identity,
)
from skills_host.auth.denials import Denied
from skills_host.settings import CLOUDS
from tests.auth.issuer import (
    BOT,
    CLOUD,
    FAR,
    HOME,
    NOW,
    PARENT,
    SERVICE_URL,
    SHARED,
    SKILL,
    channel_claims,
    skill_claims,
)

TENANTS = frozenset({*CLOUD.shared_tenants, HOME})


def skill(claims: dict[str, Any]) -> Identity:
    return skill_identity(claims, bot_app_id=BOT, tenants=TENANTS, cloud=CLOUD, now=NOW)


def channel(claims: dict[str, Any]) -> Identity:
    return channel_identity(claims, bot_app_id=BOT, cloud=CLOUD, now=NOW)


def refusal_of_skill(**changes: Any) -> str:
    with pytest.raises(Denied) as refused:
        skill(skill_claims(**changes))
    return refused.value.code


def refusal_of_channel(**changes: Any) -> str:
    with pytest.raises(Denied) as refused:
        channel(channel_claims(**changes))
    return refused.value.code


# Which application


def test_version_1_says_the_app_id_in_appid() -> None:
    assert app_id_of({"ver": "1.0", "appid": SKILL, "azp": PARENT}) == SKILL


def test_version_2_says_the_app_id_in_azp() -> None:
    assert app_id_of({"ver": "2.0", "appid": PARENT, "azp": SKILL}) == SKILL


def test_no_version_says_the_app_id_in_appid() -> None:
    assert app_id_of({"appid": SKILL, "azp": PARENT}) == SKILL


@pytest.mark.parametrize(
    "claims", [{"ver": "1.0", "azp": SKILL}, {"ver": "2.0", "appid": SKILL}, {"azp": SKILL}]
)
def test_the_other_versions_claim_is_never_used(claims: dict[str, Any]) -> None:
    with pytest.raises(Denied) as refused:
        app_id_of(claims)

    assert refused.value.code == "no-app-id"


def test_an_app_id_is_given_in_lower_case() -> None:
    assert app_id_of({"ver": "2.0", "azp": SKILL.upper()}) == SKILL


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "AnonymousSkill",
        str(UUID(int=0)),
        SKILL.replace("-", ""),
        f"{{{SKILL}}}",
        f"{SKILL}\n",
    ],
)
def test_an_app_id_that_is_no_uuid_is_none(text: str) -> None:
    with pytest.raises(Denied) as refused:
        app_id_of({"ver": "2.0", "azp": text})

    assert refused.value.code == "no-app-id"


# What is a skill's token


@pytest.mark.parametrize(
    "changes", [{}, {"ver": "1.0", "appid": SKILL}, {"appid": "AnonymousSkill"}]
)
def test_these_claims_are_a_skills(changes: dict[str, Any]) -> None:
    assert is_skill_claims(skill_claims(**changes), CLOUD)


@pytest.mark.parametrize(
    "changes",
    [
        {"ver": None, "appid": SKILL},
        {"ver": " "},
        {"ver": 2.0},
        {"aud": None},
        {"aud": " "},
        {"aud": [BOT]},
        {"azp": None},
        {"azp": {}},
        {"azp": BOT},
        {"azp": BOT.upper()},
        {"aud": CLOUD.channel_scope.upper()},
        {"aud": CLOUDS["usgov"].channel_scope},
    ],
)
def test_these_claims_are_not_a_skills(changes: dict[str, Any]) -> None:
    assert not is_skill_claims(skill_claims(**changes), CLOUD)


def test_a_clouds_own_channel_audience_is_not_a_skills() -> None:
    cloud = CLOUD.model_copy(update={"channel_scope": "https://api.botframework.example"})

    assert not is_skill_claims(skill_claims(aud="https://api.botframework.example"), cloud)


# The skill rules


def test_a_skill_token_of_version_2_gives_an_identity() -> None:
    identity = skill(skill_claims())

    assert (identity.kind, identity.bot_app_id, identity.app_id) == ("skill", BOT, SKILL)
    assert (identity.tenant, identity.expires) == (SHARED, NOW + 3600)


def test_a_skill_token_of_version_1_gives_an_identity() -> None:
    claims = skill_claims(
        ver="1.0", azp=None, appid=SKILL, iss=f"https://sts.windows.net/{HOME}/", tid=HOME
    )

    assert skill(claims).tenant == HOME


def test_an_audience_in_capitals_is_ours() -> None:
    assert skill(skill_claims(aud=BOT.upper())).bot_app_id == BOT


def test_an_application_token_that_says_so_is_accepted() -> None:
    assert skill(skill_claims(idtyp="app", roles=["x"])).app_id == SKILL


@pytest.mark.parametrize("version", ["3.0", "2", "1.0 "])
def test_an_unknown_version_is_refused(version: str) -> None:
    assert refusal_of_skill(ver=version) == "version"


def test_a_missing_version_is_refused() -> None:
    assert refusal_of_skill(ver=None, appid=SKILL) == "version"


def test_expired_is_refused() -> None:
    assert refusal_of_skill(exp=NOW - 300) == "expired"


def test_expired_within_the_skew_is_accepted() -> None:
    assert skill(skill_claims(exp=NOW - 299)).app_id == SKILL


def test_not_yet_valid_is_refused() -> None:
    assert refusal_of_skill(nbf=NOW + 301) == "not-yet-valid"


def test_not_yet_valid_within_the_skew_is_accepted() -> None:
    assert skill(skill_claims(nbf=NOW + 300)).app_id == SKILL


@pytest.mark.parametrize(
    "expires", [None, "1900000000", True, float("nan"), float("inf"), 10**400, [NOW]]
)
def test_a_bad_expiry_is_refused(expires: object) -> None:
    assert refusal_of_skill(exp=expires) == "bad-claim"


@pytest.mark.parametrize("name", ["iss", "tid", "aud", "azp", "ver"])
@pytest.mark.parametrize("value", [[BOT], 7, {"a": 1}, False])
def test_a_bad_claim_is_refused(name: str, value: object) -> None:
    expected = "several-audiences" if (name, value) == ("aud", [BOT]) else "bad-claim"

    assert refusal_of_skill(**{name: value}) == expected


@pytest.mark.parametrize(
    "issuer",
    [
        None,
        f"https://login.microsoftonline.com/{SHARED}/v2.0/",
        f"https://login.microsoftonline.com/{SHARED.upper()}/v2.0",
        f"https://login.microsoftonline.com/{FAR}/v2.0",
        f"https://login.microsoftonline.example/{SHARED}/v2.0",
        f"https://login.microsoftonline.org/{SHARED}/v2.0",
        f"https://login.microsoftonline.com/{SHARED}/v9.0",
        f"https://sts.windows.net/{SHARED}",
        "https://login.microsoftonline.com//v2.0",
        "https://sts.windows.net/",
        CLOUD.channel_issuer,
    ],
)
def test_an_issuer_that_is_not_listed_is_refused(issuer: str | None) -> None:
    assert refusal_of_skill(iss=issuer) == "issuer"


@pytest.mark.parametrize("tenant", [None, HOME, FAR, ""])
def test_tenant_binding_is_required(tenant: str | None) -> None:
    assert refusal_of_skill(tid=tenant) == "tenant-binding"


@pytest.mark.parametrize(
    "audience",
    [
        None,
        "",
        PARENT,
        f"api://{BOT}",
        CLOUD.channel_scope,
        CLOUDS["usgov"].channel_scope,
    ],
)
def test_an_audience_that_is_not_ours_is_refused(audience: str | None) -> None:
    assert refusal_of_skill(aud=audience) == "audience"


def test_an_audience_array_is_refused() -> None:
    assert refusal_of_skill(aud=[BOT]) == "several-audiences"


def test_no_app_id_is_refused() -> None:
    assert refusal_of_skill(azp=None, appid=SKILL) == "no-app-id"


@pytest.mark.parametrize("name", ["appid", "azp"])
def test_the_name_of_no_authentication_is_refused(name: str) -> None:
    assert refusal_of_skill(**{name: "AnonymousSkill"}) == "anonymous-off"
    assert refusal_of_channel(**{name: "AnonymousSkill"}) == "anonymous-off"


@pytest.mark.parametrize("app_id", [BOT, BOT.upper()])
def test_a_bots_token_for_itself_is_not_a_skill(app_id: str) -> None:
    assert refusal_of_skill(azp=app_id) == "not-a-skill"


@pytest.mark.parametrize(
    "changes", [{"scp": "user_impersonation"}, {"scp": ""}, {"idtyp": "user"}, {"idtyp": 1}]
)
def test_a_user_token_is_refused(changes: dict[str, Any]) -> None:
    assert refusal_of_skill(**changes) == "user-token"
    assert refusal_of_channel(**changes) == "user-token"


# The channel rules


def test_a_channel_token_gives_an_identity() -> None:
    identity = channel(channel_claims())

    assert (identity.kind, identity.app_id) == ("channel", "")
    assert identity.service_url == SERVICE_URL


def test_a_channel_token_of_another_issuer_is_refused() -> None:
    assert refusal_of_channel(iss=CLOUDS["usgov"].channel_issuer) == "issuer"


def test_a_channel_token_for_another_bot_is_refused() -> None:
    assert refusal_of_channel(aud=PARENT) == "audience"


def test_a_channel_token_that_expired_is_refused() -> None:
    assert refusal_of_channel(exp=NOW - 300) == "expired"


def test_a_channel_token_with_a_bad_service_url_is_refused() -> None:
    assert refusal_of_channel(serviceurl=[SERVICE_URL]) == "bad-claim"


# Anything at all


def test_an_identity_shows_the_app_ids_only() -> None:
    shown = repr(skill(skill_claims())) + repr(channel(channel_claims()))

    assert BOT in shown and SKILL in shown
    assert SHARED not in shown and SERVICE_URL not in shown


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
CHANGES = st.dictionaries(
    st.sampled_from(["iss", "tid", "aud", "azp", "appid", "ver", "exp", "nbf", "idtyp", "scp"]),
    JSON,
    min_size=1,
)


@given(CHANGES)
def test_odd_claims_give_an_identity_or_a_refusal(changes: dict[str, Any]) -> None:
    for rules, claims in ((skill, skill_claims()), (channel, channel_claims())):
        is_skill_claims(claims | changes, CLOUD)
        try:
            identity = rules(claims | changes)
        except Denied:
            continue
        assert identity.bot_app_id == BOT
