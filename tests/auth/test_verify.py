"""The two doors, from a header to an identity."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skills_host.auth import verify
from skills_host.auth.allowlist import Snapshot
from skills_host.auth.claims import Identity
from skills_host.auth.denials import Denied
from skills_host.auth.verify import Door, bearer_token
from tests.auth.conftest import ECHO, World
from tests.auth.issuer import (
    BOT,
    CLOUD,
    FAR,
    HOME,
    OTHER_BOT,
    PARENT,
    SERVICE_URL,
    SHARED,
    channel_claims,
    jwk,
    minted,
    private_key,
    skill_claims,
)


@dataclass
class Activity:
    """The two members of an activity that a door looks at."""

    channel_id: str | None = "msteams"
    service_url: str | None = SERVICE_URL


def from_skill(**changes: Any) -> str:
    return minted(skill_claims(**changes))


def from_parent(**changes: Any) -> str:
    return minted(skill_claims(azp=PARENT, **changes))


def from_channel(**changes: Any) -> str:
    return minted(channel_claims(**changes), kid="channel")


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def refusal(awaited: Any) -> str:
    with pytest.raises(Denied) as refused:
        await awaited
    return refused.value.code


def header_refusal(header: str | None) -> str:
    with pytest.raises(Denied) as refused:
        bearer_token(header)
    return refused.value.code


# The header


@pytest.mark.parametrize("word", ["Bearer", "bearer", "BEARER"])
def test_the_word_bearer_may_have_any_case(word: str) -> None:
    assert bearer_token(f"{word} a.b.c") == "a.b.c"


@pytest.mark.parametrize("header", [None, "", "  "])
def test_no_header_is_refused(header: str | None) -> None:
    assert header_refusal(header) == "no-header"


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer  a.b.c",
        " Bearer a.b.c",
        "Bearer a.b.c d",
        "Basic YTpi",
        "a.b.c",
    ],
)
def test_bad_scheme_is_refused(header: str) -> None:
    assert header_refusal(header) == "bad-scheme"


def test_token_too_long_is_refused() -> None:
    assert header_refusal("Bearer " + "a" * 16 * 1024) == "token-too-long"


@pytest.mark.parametrize(
    "token", ["a", "a.b", "a.b.c.d", "a.b.c.d.e", "a.b.c=", "a.b.é", "a.\ud800.c", "a,b.c.d", "..a"]
)
def test_a_token_of_another_form_is_malformed_token(token: str) -> None:
    assert header_refusal(f"Bearer {token}") == "malformed-token"


# The token's own header and signature


@pytest.mark.parametrize(
    "token",
    [
        "a.b.c",
        f"{segment([])}.{segment({})}.AAAA",
        f"{segment({'alg': 'RS256', 'kid': 'entra'})}.{segment([])}.AAAA",
        f"{segment({'alg': 'RS256', 'kid': 'entra'})}.{'W1tb' * 4000}.AAAA"[: 16 * 1024 - 10],
        f"{segment({'alg': 'RS256', 'kid': 'entra', 'b64': False})}.{segment({})}.AAAA",
        f"{segment({'alg': 'RS256'})}.{segment({})}.AAAA",
        f"{segment({'alg': 'RS256', 'kid': 7})}.{segment({})}.AAAA",
        f"{segment({'alg': 'RS256', 'kid': ''})}.{segment({})}.AAAA",
        f"{segment({'alg': 'RS256', 'kid': 'k' * 300})}.{segment({})}.AAAA",
    ],
)
async def test_malformed_token_is_refused(world: World, token: str) -> None:
    assert await refusal(world.at_messages(token)) == "malformed-token"
    assert world.issuer.asked == []


def unsigned() -> str:
    return jwt.encode(skill_claims(), "", algorithm="none", headers={"kid": "entra"})


def signed_with_the_public_key() -> str:
    public = private_key("entra", 2048).public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    # The library refuses to make such a token itself, so the key goes in under its own name.
    class Plain(jwt.algorithms.HMACAlgorithm):
        def prepare_key(self, key: str | bytes) -> bytes:
            return key if isinstance(key, bytes) else key.encode()

    signing = jwt.PyJWS(algorithms=[])
    signing.register_algorithm("HS256", Plain(Plain.SHA256))
    payload = json.dumps(skill_claims()).encode()
    return signing.encode(payload, pem, algorithm="HS256", headers={"kid": "entra"})


def signed_with_another_algorithm() -> str:
    return jwt.encode(
        skill_claims(), private_key("entra", 2048), algorithm="RS512", headers={"kid": "entra"}
    )


@pytest.mark.parametrize(
    "made", [unsigned, signed_with_the_public_key, signed_with_another_algorithm]
)
async def test_algorithm_is_refused(world: World, made: Callable[[], str]) -> None:
    assert await refusal(world.at_skill_host(made())) == "algorithm"
    assert world.issuer.asked == []


@pytest.mark.parametrize("critical", [["exp"], ["b64"], [], None])
async def test_critical_header_is_refused(world: World, critical: object) -> None:
    header = {"alg": "RS256", "kid": "entra", "crit": critical, "exp": 1, "b64": True}
    token = f"{segment(header)}.{segment(skill_claims())}.AAAA"

    assert await refusal(world.at_skill_host(token)) == "critical-header"
    assert world.issuer.asked == []


async def test_unknown_key_is_refused(world: World) -> None:
    token = minted(skill_claims(), kid="forged")

    assert await refusal(world.at_skill_host(token)) == "unknown-key"


async def test_signature_is_refused(world: World) -> None:
    head, _, sign = from_skill().split(".")
    forged = ".".join((head, segment(skill_claims(azp=PARENT)), sign))

    assert await refusal(world.at_skill_host(forged)) == "signature"


async def test_a_missing_signature_is_refused(world: World) -> None:
    bare = from_skill().rpartition(".")[0] + "."

    assert await refusal(world.at_skill_host(bare)) == "signature"


async def test_the_key_of_another_authority_is_unknown(world: World) -> None:
    posing = minted(skill_claims(), kid="channel")

    assert await refusal(world.at_skill_host(posing)) == "unknown-key"


async def test_keys_unavailable_is_refused(world: World) -> None:
    world.issuer.down = True

    assert await refusal(world.at_skill_host(from_skill())) == "keys-unavailable"


# What the claims say


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("expired", {"exp": 1}),
        ("not-yet-valid", {"nbf": 2_000_000_000}),
        ("issuer", {"iss": f"https://sts.windows.net/{FAR}/", "tid": FAR}),
        ("tenant-binding", {"tid": HOME}),
        ("audience", {"aud": PARENT}),
        ("audience", {"aud": CLOUD.channel_scope}),
        ("audience", {"aud": "https://api.botframework.us"}),
        ("version", {"ver": "3.0"}),
        ("no-app-id", {"azp": None}),
        ("anonymous-off", {"azp": None, "appid": "AnonymousSkill"}),
        ("several-audiences", {"aud": [BOT]}),
        ("bad-claim", {"aud": 7}),
        ("user-token", {"scp": "access_as_user"}),
    ],
)
@pytest.mark.parametrize("door", Door)
async def test_bad_claims_are_refused_with_their_reason(
    world: World, door: Door, code: str, changes: dict[str, Any]
) -> None:
    header = f"Bearer {from_skill(**changes)}"

    assert await refusal(world.verifier.admit(header, door=door, bot_app_id=BOT)) == code


# The door for messages


async def test_a_channel_may_send_messages(world: World) -> None:
    identity = await world.at_messages(from_channel())

    assert (identity.kind, identity.service_url) == ("channel", SERVICE_URL)
    assert identity.endorsements == frozenset({"msteams"})


async def test_an_allowed_caller_may_send_messages(world: World) -> None:
    identity = await world.at_messages(from_parent())

    assert (identity.kind, identity.app_id) == ("skill", PARENT)


async def test_caller_not_allowed_is_refused(world: World) -> None:
    world.lists.snapshot = Snapshot(2, callers={OTHER_BOT: frozenset({PARENT})})

    assert await refusal(world.at_messages(from_parent())) == "caller-not-allowed"


async def test_a_skill_is_no_allowed_caller(world: World) -> None:
    assert await refusal(world.at_messages(from_skill())) == "caller-not-allowed"


async def test_a_token_for_one_bot_does_not_open_anothers_door(world: World) -> None:
    assert await refusal(world.at_messages(from_parent(), bot=OTHER_BOT)) == "audience"
    assert await refusal(world.at_messages(from_channel(), bot=OTHER_BOT)) == "audience"
    assert await refusal(world.at_skill_host(from_skill(), bot=OTHER_BOT)) == "audience"


async def test_a_tenant_of_one_bot_is_not_anothers(world: World) -> None:
    claims = {"iss": f"https://sts.windows.net/{HOME}/", "tid": HOME}
    world.lists.snapshot = Snapshot(2, {"echo": ECHO})

    assert (await world.at_skill_host(from_skill(**claims))).tenant == HOME
    other = from_skill(aud=OTHER_BOT, **claims)
    assert await refusal(world.at_skill_host(other, bot=OTHER_BOT)) == "issuer"


async def test_a_channel_of_another_cloud_is_refused(world: World) -> None:
    token = from_channel(iss="https://api.botframework.us")

    assert await refusal(world.at_messages(token)) == "unknown-key"


async def test_the_emulators_rules_do_not_exist(world: World) -> None:
    token = from_skill(azp=BOT, aud=CLOUD.channel_scope)

    assert await refusal(world.at_messages(token)) == "audience"


async def test_a_channel_token_with_skill_claims_is_held_to_the_skill_rules(world: World) -> None:
    token = from_channel(ver="2.0", azp=PARENT)

    assert await refusal(world.at_messages(token)) == "unknown-key"


# The skill host


async def test_a_skill_may_call_back(world: World) -> None:
    identity = await world.at_skill_host(from_skill())

    assert (identity.kind, identity.tenant) == ("skill", SHARED)


async def test_not_a_skill_is_refused(world: World) -> None:
    assert await refusal(world.at_skill_host(from_channel())) == "not-a-skill"
    assert world.issuer.asked == []


async def test_skill_not_allowed_is_refused(world: World) -> None:
    assert await refusal(world.at_skill_host(from_parent())) == "skill-not-allowed"


async def test_a_skills_listed_tenant_is_accepted(world: World) -> None:
    token = from_skill(iss=f"https://sts.windows.net/{FAR}/", tid=FAR)
    bound = replace(ECHO, tenants=frozenset({FAR}))

    world.lists.snapshot = Snapshot(2, {"echo": bound})

    assert (await world.at_skill_host(token)).tenant == FAR
    assert await refusal(world.at_skill_host(from_skill())) == "skill-not-allowed"


# What is remembered


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Counts signatures that are checked, through the real function."""
    seen: list[str] = []
    real = verify.check_signature

    def counting(token: str, key: Any) -> None:
        seen.append(key.kid)
        real(token, key)

    monkeypatch.setattr(verify, "check_signature", counting)
    return seen


async def test_a_signature_is_checked_once(world: World, verified: list[str]) -> None:
    token = from_skill()
    for _ in range(3):
        await world.at_skill_host(token)

    assert verified == ["entra"]


async def test_a_refused_token_is_not_remembered(world: World, verified: list[str]) -> None:
    token = from_parent()
    for _ in range(2):
        await refusal(world.at_skill_host(token))

    assert verified == ["entra", "entra"]


async def test_a_remembered_token_still_expires(world: World) -> None:
    token = from_skill()
    await world.at_skill_host(token)
    world.clock.time += 3600 + 300

    assert await refusal(world.at_skill_host(token)) == "expired"


async def test_a_remembered_token_is_held_to_a_changed_list(world: World) -> None:
    token = from_skill()
    await world.at_skill_host(token)
    world.lists.snapshot = Snapshot(2)

    assert await refusal(world.at_skill_host(token)) == "skill-not-allowed"


async def test_a_remembered_token_is_held_to_the_other_door(world: World) -> None:
    token = from_skill()
    await world.at_skill_host(token)

    assert await refusal(world.at_messages(token)) == "caller-not-allowed"
    assert await refusal(world.at_skill_host(token, bot=OTHER_BOT)) == "audience"


async def test_a_remembered_token_is_forgotten_when_its_key_goes(world: World) -> None:
    token = from_skill()
    await world.at_skill_host(token)
    world.issuer.publish(CLOUD.entra_metadata, jwk("next"))
    await world.at_skill_host(minted(skill_claims(), kid="next"))

    assert await refusal(world.at_skill_host(token)) == "unknown-key"


async def test_a_remembered_token_is_forgotten_when_its_key_changes(world: World) -> None:
    token = from_skill()
    await world.at_skill_host(token)
    world.issuer.publish(CLOUD.entra_metadata, jwk("next") | {"kid": "entra"}, jwk("next"))
    await world.at_skill_host(minted(skill_claims(), kid="next"))

    assert await refusal(world.at_skill_host(token)) == "signature"


async def test_who_was_admitted_is_judged_again_by_new_lists(world: World) -> None:
    """A skill that is taken from the list is refused with the very next request."""
    token = from_skill()
    await world.at_skill_host(token)
    await world.at_skill_host(token)
    world.lists.snapshot = Snapshot(2, {}, {})

    assert await refusal(world.at_skill_host(token)) == "skill-not-allowed"


async def test_who_was_admitted_is_so_for_the_life_of_the_token(world: World) -> None:
    """Also where the clock was put back before its beginning."""
    token = from_skill()
    await world.at_skill_host(token)
    world.clock.time -= 3600
    assert await refusal(world.at_skill_host(token)) == "not-yet-valid"
    world.clock.time += 3600 + 3600 + 299
    await world.at_skill_host(token)
    world.clock.time += 1

    assert await refusal(world.at_skill_host(token)) == "expired"


async def test_who_was_admitted_is_so_at_one_door_of_one_bot(world: World) -> None:
    token = from_skill()
    await world.at_skill_host(token)

    assert await refusal(world.at_messages(token)) == "caller-not-allowed"
    assert await refusal(world.at_skill_host(token, bot=OTHER_BOT)) == "audience"


async def test_who_was_admitted_is_refused_when_the_key_is_withdrawn(world: World) -> None:
    token = from_skill()
    await world.at_skill_host(token)
    world.issuer.publish(CLOUD.entra_metadata, jwk("next"))
    await world.keys.warm(CLOUD.entra_metadata)

    assert await refusal(world.at_skill_host(token)) == "unknown-key"


async def test_only_so_many_tokens_are_remembered(world: World, verified: list[str]) -> None:
    oldest, *others, newest = [from_skill(jti=str(number)) for number in range(5)]
    for token in (oldest, *others, oldest, newest):
        await world.at_skill_host(token)
    assert len(verified) == 5

    await world.at_skill_host(oldest)
    assert len(verified) == 5
    await world.at_skill_host(others[0])
    assert len(verified) == 6


async def test_two_at_once_are_judged_apart(world: World) -> None:
    skill, refused, channel = await asyncio.gather(
        world.at_skill_host(from_skill()),
        refusal(world.at_skill_host(from_parent())),
        world.at_messages(from_channel()),
    )

    assert (skill.kind, refused, channel.kind) == ("skill", "skill-not-allowed", "channel")
    assert world.issuer.fetches(CLOUD.entra_metadata) == 1


# Binding the activity


def binding_refusal(world: World, identity: Identity, activity: Activity) -> str:
    with pytest.raises(Denied) as refused:
        world.verifier.bind(identity, activity)
    return refused.value.code


FROM_CHANNEL = Identity("channel", BOT, service_url=SERVICE_URL)


@pytest.mark.parametrize(
    "sent",
    [SERVICE_URL, SERVICE_URL.rstrip("/"), SERVICE_URL.replace("smba.example", "SMBA.Example")],
)
def test_the_service_url_of_the_token_is_bound(world: World, sent: str) -> None:
    world.verifier.bind(FROM_CHANNEL, Activity(service_url=sent))


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "",
        "https://smba.example/",
        "https://smba.example/Teams/",
        "http://smba.example/teams/",
        "https://smba.example:444/teams/",
        "https://smba.example/teams//",
        "https://smba.example/teams/?x",
        "https://smba.example@evil.example/teams/",
        "https://[",
    ],
)
def test_service_url_is_refused(world: World, sent: str | None) -> None:
    assert binding_refusal(world, FROM_CHANNEL, Activity(service_url=sent)) == "service-url"


@pytest.mark.parametrize("sent", [None, "", SERVICE_URL])
def test_a_token_without_a_service_url_is_refused(world: World, sent: str | None) -> None:
    identity = replace(FROM_CHANNEL, service_url="")

    assert binding_refusal(world, identity, Activity(service_url=sent)) == "service-url"


def test_a_channel_that_the_key_endorses_is_bound(world: World) -> None:
    world.verifier.bind(replace(FROM_CHANNEL, endorsements=frozenset({"msteams"})), Activity())


@pytest.mark.parametrize("channel", ["webchat", "MSTeams", "", None])
def test_endorsement_is_refused(world: World, channel: str | None) -> None:
    identity = replace(FROM_CHANNEL, endorsements=frozenset({"msteams"}))

    assert binding_refusal(world, identity, Activity(channel_id=channel)) == "endorsement"


def test_a_skills_activity_is_not_bound_to_an_address(world: World) -> None:
    world.verifier.bind(Identity("skill", BOT, PARENT), Activity("emulator", None))


# What is shown, and anything at all


@pytest.mark.parametrize(
    "changes", [{"aud": PARENT}, {"tid": HOME}, {"exp": 1}, {"ver": "9.9"}, {"azp": "odd-app-id"}]
)
async def test_a_refusal_shows_nothing_of_the_token(world: World, changes: dict[str, Any]) -> None:
    token = from_skill(**changes)
    with pytest.raises(Denied) as refused:
        await world.at_skill_host(token)

    error: BaseException | None = refused.value
    while error is not None:
        shown = f"{error} {error!r}"
        assert not any(part in shown for part in (*token.split("."), *map(str, changes.values())))
        error = error.__cause__ or error.__context__


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
TOKENS = st.builds(
    lambda header, claims, sign: f"{segment(header)}.{segment(claims)}.{sign}",
    st.fixed_dictionaries(
        {},
        optional={
            "alg": st.sampled_from(["RS256", "none", "HS256"]) | JSON,
            "kid": st.sampled_from(["entra", "channel"]) | JSON,
            "crit": JSON,
            "b64": JSON,
        },
    ),
    st.builds(lambda changes: skill_claims() | changes, st.dictionaries(st.text(max_size=4), JSON))
    | JSON,
    st.from_regex(r"[A-Za-z0-9_-]{0,40}", fullmatch=True),
)
HEADERS = st.text() | st.builds("Bearer {}".format, st.text() | TOKENS)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=HEADERS, door=st.sampled_from(Door))
def test_garbage_is_only_ever_refused(world: World, header: str, door: Door) -> None:
    code = asyncio.run(refusal(world.verifier.admit(header, door=door, bot_app_id=BOT)))

    assert code
