"""What an operator is told of a refusal: what was expected, and what was seen instead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from skills_host.auth.allowlist import Snapshot, check_caller, check_owner, check_skill
from skills_host.auth.claims import Identity, channel_rules, skill_rules
from skills_host.auth.denials import DENIALS, Denied
from skills_host.auth.pairing import AppKind, Party, pairing
from skills_host.auth.receipts import receipt_id, receipt_of
from skills_host.auth.verify import HEADER_CHARACTERS, Verifier, bearer_token
from tests.auth.conftest import World
from tests.auth.issuer import (
    BOT,
    CLOUD,
    FAR,
    HOME,
    NOW,
    OTHER_BOT,
    PARENT,
    SERVICE_URL,
    SHARED,
    SKILL,
    channel_claims,
    jwk,
    minted,
    skill_claims,
)
from tests.auth.test_verify import segment

STRANGER = "99999999-9999-4999-8999-99999999aaaa"


@dataclass
class Activity:
    """The two members of an activity that a door looks at."""

    channel_id: str | None = "emulator"
    service_url: str | None = "http://localhost:5000"


def told(error: Denied) -> tuple[str, str, str]:
    return error.code, error.expected, error.seen


async def told_by(awaited: Awaitable[object]) -> tuple[str, str, str]:
    with pytest.raises(Denied) as refused:
        await awaited
    return told(refused.value)


def told_in(check: Callable[[], object]) -> tuple[str, str, str]:
    with pytest.raises(Denied) as refused:
        check()
    return told(refused.value)


# Of the token


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"ver": "3.0"}, ("version", "1.0 or 2.0", "3.0")),
        ({"ver": None}, ("version", "1.0 or 2.0", "")),
        ({"ver": 2}, ("bad-claim", "a string as ver", "int")),
        ({"azp": "x"}, ("no-app-id", "a UUID as azp", "x")),
        ({"azp": "AnonymousSkill"}, ("anonymous-off", "an app id", "AnonymousSkill")),
        ({"aud": [BOT, SKILL]}, ("several-audiences", BOT, "")),
        ({"aud": SKILL}, ("audience", BOT, SKILL)),
        ({"exp": None}, ("bad-claim", "seconds as exp", "")),
        ({"exp": "soon"}, ("bad-claim", "seconds as exp", "str")),
        ({"nbf": int(NOW) + 301}, ("not-yet-valid", f"from {NOW + 1:.0f}", f"{NOW:.0f}")),
        ({"exp": int(NOW) - 301}, ("expired", f"before {NOW - 1:.0f}", f"{NOW:.0f}")),
        ({"scp": "read"}, ("user-token", "no scp", "")),
        ({"idtyp": "user"}, ("user-token", "app as idtyp", "")),
        ({"iss": "https://elsewhere/"}, ("issuer", "one of 2 tenants", "https://elsewhere/")),
        ({"tid": FAR}, ("tenant-binding", SHARED, FAR)),
        ({"azp": BOT}, ("not-a-skill", "another bot's app id", BOT)),
        ({"azp": STRANGER}, ("skill-not-allowed", "a registered skill", STRANGER)),
    ],
)
async def test_what_is_told_of_a_skills_token(
    world: World, claims: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    world.lists.snapshot = Snapshot(1, {}, {})
    world.verifier = Verifier(
        cloud=CLOUD,
        bots={BOT: frozenset({HOME}), OTHER_BOT: frozenset()},
        keys=world.keys,
        snapshot=world.lists,
        now=world.clock,
    )
    found = await told_by(world.at_skill_host(minted(skill_claims(**claims))))

    if found[0] == "issuer":
        # How many tenants are believed is the cloud's and the bot's together.
        believed = len(set(CLOUD.shared_tenants) | {HOME})
        expected = ("issuer", f"one of {believed} tenants", expected[2])
    assert found == expected


async def test_what_is_told_of_callers(world: World) -> None:
    own, stranger = minted(skill_claims(azp=BOT)), minted(skill_claims(azp=STRANGER))
    channel = minted(channel_claims(), kid="channel")

    assert await told_by(world.at_messages(own)) == ("emulator-off", "another bot's app id", BOT)
    assert await told_by(world.at_messages(stranger)) == (
        "caller-not-allowed",
        "an allowed caller",
        STRANGER,
    )
    assert await told_by(world.at_skill_host(channel)) == (
        "not-a-skill",
        "a skill's token",
        "a channel's token",
    )


async def test_what_is_told_of_headers_and_keys(world: World) -> None:
    long = f"Bearer {'a' * HEADER_CHARACTERS}"

    assert told_in(lambda: bearer_token(long)) == ("token-too-long", "", f"{len(long)} characters")
    assert told_in(lambda: bearer_token("Basic a")) == ("bad-scheme", "Bearer TOKEN", "")
    assert await told_by(world.at_messages(minted({}, kid="k" * 257))) == (
        "malformed-token",
        "a kid",
        "",
    )
    assert await told_by(world.at_messages(f"{segment({'alg': 'R' * 40})}.e30.AAAA")) == (
        "algorithm",
        "RS256",
        "R" * 32,
    )
    assert await told_by(world.at_messages(minted(skill_claims(), kid="strange"))) == (
        "unknown-key",
        "",
        "strange",
    )
    # Now it is known to be unknown, and nobody is asked again.
    assert await told_by(world.at_messages(minted(skill_claims(), kid="strange"))) == (
        "unknown-key",
        "",
        "strange",
    )
    good = minted(skill_claims()).rsplit(".", 1)[0]
    other = minted(skill_claims(nbf=0)).rsplit(".", 1)[1]
    assert await told_by(world.at_skill_host(f"{good}.{other}")) == ("signature", "", "entra")


def test_the_longest_header_that_is_read() -> None:
    rest = "a" * (HEADER_CHARACTERS - len("Bearer a.b."))

    assert bearer_token(f"Bearer a.b.{rest}") == f"a.b.{rest}"


@pytest.mark.parametrize("kid", ["k", "k" * 256])
async def test_the_shortest_and_the_longest_key_id(world: World, kid: str) -> None:
    world.issuer.publish(CLOUD.entra_metadata, jwk(kid))

    assert (await world.at_skill_host(minted(skill_claims(), kid=kid))).app_id == SKILL


async def test_what_is_told_of_a_channels_issuer(world: World) -> None:
    rules = channel_rules(
        channel_claims(iss="https://elsewhere/"), bot_app_id=BOT, cloud=CLOUD, now=NOW
    )
    (issuer,) = [rule for rule in rules if rule.name == "issuer"]

    assert told_in(issuer.check) == ("issuer", CLOUD.channel_issuer, "https://elsewhere/")


@pytest.mark.parametrize("claim", ["appid", "azp"])
async def test_the_name_of_no_authentication_is_no_channel(world: World, claim: str) -> None:
    token = minted(channel_claims(**{claim: "AnonymousSkill"}))

    assert (await told_by(world.at_messages(token)))[0] != "not-a-skill"
    assert (await told_by(world.at_skill_host(token)))[0] == "anonymous-off"


def test_the_rules_have_names() -> None:
    channel = channel_rules(channel_claims(), bot_app_id=BOT, cloud=CLOUD, now=NOW)
    skill = skill_rules(skill_claims(), bot_app_id=BOT, tenants={SHARED}, cloud=CLOUD, now=NOW)

    assert {"authentication", "audience", "application only"} <= {rule.name for rule in channel}
    assert {rule.name for rule in (*channel, *skill) if rule.name != rule.name.lower()} == set()


async def test_a_channels_identity_tells_issuer_and_end(world: World) -> None:
    identity = await world.at_messages(minted(channel_claims(), kid="channel"))

    assert identity.issuer == CLOUD.channel_issuer
    assert identity.expires == NOW + 3600


async def test_a_skills_identity_tells_issuer_and_end(world: World) -> None:
    identity = await world.at_skill_host(minted(skill_claims()))

    assert identity.issuer == f"https://login.microsoftonline.com/{SHARED}/v2.0"
    assert (identity.expires, identity.tenant) == (NOW + 3600, SHARED)


def test_a_refusal_says_what_its_code_means() -> None:
    assert str(Denied("issuer")) == DENIALS["issuer"].meaning
    assert repr(Denied("issuer", seen="secret")) == "Denied('issuer')"


def test_the_id_of_a_receipt_tells_its_millisecond() -> None:
    assert receipt_id(1_800_000_000.1234, "0123456789") == "1800000000123-01234567"


def test_a_receipt_knows_the_door() -> None:
    receipt = receipt_of(Denied("issuer"), id="i", at=1.0, door="messages", caller="c")

    assert (receipt.door, receipt.caller) == ("messages", "c")


# Of what came with it


def bound(world: World, identity: Identity, activity: Activity) -> tuple[str, str, str]:
    return told_in(lambda: world.verifier.bind(identity, activity))


async def test_what_is_told_of_a_channels_activity(world: World) -> None:
    identity = await world.at_messages(minted(channel_claims(), kid="channel"))
    elsewhere = "https://elsewhere.example/"

    assert bound(world, identity, Activity("msteams", elsewhere)) == (
        "service-url",
        SERVICE_URL,
        elsewhere,
    )
    assert bound(world, identity, Activity("msteams", None)) == ("service-url", SERVICE_URL, "")
    assert bound(world, identity, Activity("slack", SERVICE_URL)) == ("endorsement", "", "slack")
    assert bound(world, identity, Activity(None, SERVICE_URL)) == ("endorsement", "", "")


def test_what_is_told_of_an_emulators_activity(world: World) -> None:
    identity = Identity(kind="emulator", app_id=BOT, bot_app_id=BOT)
    far = "https://elsewhere.example/"

    assert bound(world, identity, Activity(service_url=far)) == (
        "service-url",
        "a loopback address",
        far,
    )
    assert bound(world, identity, Activity(service_url=None)) == (
        "service-url",
        "a loopback address",
        "",
    )
    assert bound(world, identity, Activity("msteams")) == ("endorsement", "emulator", "msteams")
    assert bound(world, identity, Activity(None)) == ("endorsement", "emulator", "")


# Of lists


@pytest.mark.parametrize("kind", ["channel", "emulator"])
def test_only_skills_are_on_lists(kind: Any) -> None:
    identity = Identity(kind=kind, app_id=SKILL, bot_app_id=BOT)
    snapshot = Snapshot(1, {}, {BOT: frozenset({SKILL})})

    assert told_in(lambda: check_caller(snapshot, identity)) == (
        "caller-not-allowed",
        "an allowed caller",
        SKILL,
    )
    assert told_in(lambda: check_owner(owner_app_id=SKILL, identity=identity)) == (
        "not-conversation-owner",
        SKILL,
        SKILL,
    )
    assert told_in(lambda: check_skill(snapshot, identity))[0] == "skill-not-allowed"


def test_what_is_told_of_an_owner() -> None:
    identity = Identity(kind="skill", app_id=PARENT, bot_app_id=BOT)

    assert told_in(lambda: check_owner(owner_app_id=SKILL, identity=identity)) == (
        "not-conversation-owner",
        SKILL,
        PARENT,
    )


# Of pairs


def test_what_is_told_of_pairs_that_cannot_talk() -> None:
    managed = Party(AppKind.MANAGED_IDENTITY, frozenset({HOME}))
    multi = Party(AppKind.MULTI_TENANT)
    home, far = (Party(AppKind.SINGLE_TENANT, frozenset({tenant})) for tenant in (HOME, FAR))

    found = pairing(multi, managed, calls_back=False)
    assert found.why.startswith("the skill is a managed identity")
    found = pairing(managed, home, calls_back=True)
    assert found.why.startswith("the root is a managed identity")
    assert pairing(home, multi, calls_back=True).fix == (
        "register both as single-tenant apps of one tenant"
    )
    found = pairing(home, far, calls_back=True)
    assert found.why == "the root's tenant is not among those of the skill"
    assert found.fix == "register both in one tenant, or mend the skill's tenants"
