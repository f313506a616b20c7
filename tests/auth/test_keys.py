"""Signing keys: what is accepted, and how seldom an authority is asked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from skills_host.auth.denials import Denied
from skills_host.auth.keys import SigningKeys, _Bucket, signing_keys
from skills_host.errors import SettingsError
from skills_host.transport import Request, Response
from tests.auth.issuer import CLOUD, Clock, Issuer, dumped, jwk, settled

URL = CLOUD.entra_metadata
LOCAL = "http://127.0.0.1:7000/metadata"
DAY = 24 * 3600.0


@pytest.fixture
def keys(issuer: Issuer, clock: Clock) -> SigningKeys:
    return SigningKeys(issuer, now=clock)


async def refusal(keys: SigningKeys, kid: str = "entra", *, url: str = URL) -> str:
    with pytest.raises(Denied) as refused:
        await keys.key(url, kid)
    return refused.value.code


# What is a usable key


def test_a_key_keeps_its_endorsements() -> None:
    found = signing_keys({"keys": [jwk("a", endorsements=["msteams"]), jwk("b")]})

    assert found["a"].endorsements == frozenset({"msteams"})
    assert found["b"].endorsements is None


@pytest.mark.parametrize("endorsements", [None, "msteams", {}, []])
def test_endorsements_that_cannot_be_read_endorse_nothing(endorsements: object) -> None:
    found = signing_keys({"keys": [jwk("a", endorsements=endorsements)]})

    assert found["a"].endorsements == frozenset()


def test_a_key_without_a_use_is_usable() -> None:
    whole = jwk("a")
    del whole["use"]

    assert signing_keys({"keys": [whole]}).keys() == {"a"}


@pytest.mark.parametrize(
    "members",
    [
        {"kty": "EC"},
        {"kty": "oct", "k": "AAAA"},
        {"use": "enc"},
        {"kid": None},
        {"kid": 7},
        {"n": None},
        {"e": None},
        {"n": ""},
        {"n": "AQAB"},
        {"n": "!"},
        {"e": "AA"},
        {"n": [1]},
    ],
)
def test_a_key_of_another_kind_is_left_out(members: dict[str, Any]) -> None:
    assert signing_keys({"keys": [jwk("a") | members, jwk("b")]}).keys() == {"b"}


def test_a_short_key_is_left_out() -> None:
    assert signing_keys({"keys": [jwk("short", bits=1024), jwk("b")]}).keys() == {"b"}


def test_a_private_key_in_the_document_gives_its_public_half() -> None:
    found = signing_keys({"keys": [jwk("a", d="AQAB", p="AQAB", q="AQAB")]})

    assert not hasattr(found["a"].key, "private_numbers")


@pytest.mark.parametrize("document", [{}, {"keys": None}, {"keys": [None, 1, "a", []]}])
def test_a_document_without_keys_is_no_use(document: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no usable"):
        signing_keys(document)


# Fetching


def test_a_bucket_gains_with_time_alone() -> None:
    bucket = _Bucket(2, 0.5, 2.0, 100.0)

    assert [bucket.take(100.0) for _ in range(4)] == [True, True, False, False]
    assert bucket.take(90.0) is False
    assert [bucket.take(90.5), bucket.take(90.5)] == [True, False]


async def test_an_authority_that_fails_is_not_asked_at_once_again(
    keys: SigningKeys, issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    await keys.warm(URL)
    issuer.documents[URL] = b"[]"
    clock.time += DAY
    for _ in range(3):
        await keys.key(URL, "entra")
        await settled()

    assert issuer.fetches(URL) == 2
    assert caplog.messages == [f"signing keys of {URL} could not be fetched: not an object"]
    clock.time += 2
    await keys.key(URL, "entra")
    await settled()
    assert issuer.fetches(URL) == 3


async def test_keys_are_fetched_once(keys: SigningKeys, issuer: Issuer) -> None:
    first = await keys.key(URL, "entra")
    second = await keys.key(URL, "entra")

    assert first == second
    assert issuer.asked == [URL, f"{URL}/keys"]


async def test_two_at_once_share_one_fetch(keys: SigningKeys, issuer: Issuer) -> None:
    issuer.gate = asyncio.Event()
    waiting = [asyncio.create_task(keys.key(URL, "entra")) for _ in range(5)]
    await settled()
    issuer.gate.set()

    found = await asyncio.gather(*waiting)

    assert {key.kid for key in found} == {"entra"}
    assert issuer.fetches(URL) == 1


async def test_a_cancelled_waiter_leaves_the_fetch_to_the_others(
    keys: SigningKeys, issuer: Issuer
) -> None:
    issuer.gate = asyncio.Event()
    first, second = (asyncio.create_task(keys.key(URL, "entra")) for _ in range(2))
    await settled()
    first.cancel()
    await settled()
    issuer.gate.set()

    assert (await second).kid == "entra"
    assert first.cancelled()
    assert issuer.fetches(URL) == 1


async def test_old_keys_serve_while_new_ones_are_fetched(
    keys: SigningKeys, issuer: Issuer, clock: Clock
) -> None:
    await keys.warm(URL)
    clock.time += DAY
    issuer.gate = asyncio.Event()

    found = [await keys.key(URL, "entra") for _ in range(3)]
    issuer.gate.set()
    await settled()

    assert {key.kid for key in found} == {"entra"}
    assert issuer.fetches(URL) == 2


async def test_old_keys_serve_while_the_authority_is_down(
    keys: SigningKeys, issuer: Issuer, clock: Clock
) -> None:
    await keys.warm(URL)
    issuer.down = True
    clock.time += 3 * DAY

    await keys.key(URL, "entra")
    await settled()

    assert (await keys.key(URL, "entra")).kid == "entra"
    assert issuer.fetches(URL) == 2


async def test_a_failed_refresh_is_tried_again(
    keys: SigningKeys, issuer: Issuer, clock: Clock
) -> None:
    await keys.warm(URL)
    generation = keys.generation
    issuer.down = True
    clock.time += DAY
    await keys.key(URL, "entra")
    await settled()
    issuer.down = False
    issuer.publish(URL, jwk("entra"), jwk("next"))
    clock.time += 2

    await keys.key(URL, "entra")
    await settled()

    assert keys.generation == generation + 1


async def test_keys_unavailable_when_none_were_ever_had(
    keys: SigningKeys, issuer: Issuer, clock: Clock
) -> None:
    issuer.down = True
    assert await refusal(keys) == "keys-unavailable"
    assert await refusal(keys) == "keys-unavailable"
    assert len(issuer.asked) == 1
    issuer.down = False
    clock.time += 1

    assert (await keys.key(URL, "entra")).kid == "entra"


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        dumped({"keys": [jwk("entra")]}) + b" " * (1024 * 1024),
        {"keys": []},
        {"keys": [jwk("short", bits=1024)]},
    ],
)
async def test_a_bad_key_document_is_keys_unavailable(
    keys: SigningKeys, issuer: Issuer, document: object
) -> None:
    issuer.documents[f"{URL}/keys"] = document

    assert await refusal(keys) == "keys-unavailable"


@pytest.mark.parametrize("address", [None, 7, "", "ftp://login.example/keys", "http://[", "/keys"])
async def test_a_bad_address_of_keys_is_keys_unavailable(
    keys: SigningKeys, issuer: Issuer, address: object
) -> None:
    issuer.documents[URL] = {"jwks_uri": address}

    assert await refusal(keys) == "keys-unavailable"


async def test_an_answer_that_never_comes_is_keys_unavailable(issuer: Issuer, clock: Clock) -> None:
    keys = SigningKeys(issuer, now=clock, timeout=0.01)
    issuer.gate = asyncio.Event()

    assert await refusal(keys) == "keys-unavailable"


async def test_closing_lets_nobody_wait(keys: SigningKeys, issuer: Issuer) -> None:
    issuer.gate = asyncio.Event()
    waiting = asyncio.create_task(refusal(keys))
    await settled()

    await keys.close()

    assert await waiting == "keys-unavailable"


# Unknown key ids


async def test_a_rotated_key_is_fetched(keys: SigningKeys, issuer: Issuer) -> None:
    await keys.warm(URL)
    generation = keys.generation
    issuer.publish(URL, jwk("next"))

    assert (await keys.key(URL, "next")).kid == "next"
    assert keys.generation == generation + 1
    assert await refusal(keys, "entra") == "unknown-key"


async def test_unknown_key_is_refused_without_asking_again(
    keys: SigningKeys, issuer: Issuer, clock: Clock
) -> None:
    await keys.warm(URL)

    assert await refusal(keys, "forged") == "unknown-key"
    assert await refusal(keys, "forged") == "unknown-key"
    assert issuer.fetches(URL) == 2

    clock.time += 30
    assert await refusal(keys, "forged") == "unknown-key"
    assert issuer.fetches(URL) == 3


async def test_a_refresh_forgets_which_keys_were_unknown(keys: SigningKeys, issuer: Issuer) -> None:
    await keys.warm(URL)
    await refusal(keys, "next")
    await refusal(keys, "forged")
    issuer.publish(URL, jwk("entra"), jwk("next"))

    assert (await keys.key(URL, "next")).kid == "next"


async def test_a_storm_of_unknown_keys_is_bounded(
    keys: SigningKeys, issuer: Issuer, clock: Clock
) -> None:
    await keys.warm(URL)
    for number in range(50):
        assert await refusal(keys, f"forged-{number}") == "unknown-key"
    assert issuer.fetches(URL) == 1 + 5

    clock.time += 300
    for number in range(50):
        assert await refusal(keys, f"again-{number}") == "unknown-key"
    assert issuer.fetches(URL) == 1 + 5 + 1


async def test_a_storm_at_once_shares_one_fetch(keys: SigningKeys, issuer: Issuer) -> None:
    await keys.warm(URL)

    refusals = await asyncio.gather(*(refusal(keys, f"forged-{n}") for n in range(2000)))

    assert set(refusals) == {"unknown-key"}
    assert issuer.fetches(URL) == 2
    assert len(keys._authorities[URL].unknown) == 1024


async def test_a_storm_at_one_authority_leaves_the_other_alone(
    keys: SigningKeys, issuer: Issuer
) -> None:
    await keys.warm(CLOUD.channel_metadata)
    for number in range(9):
        await refusal(keys, f"forged-{number}")
    issuer.publish(CLOUD.channel_metadata, jwk("next"))

    assert (await keys.key(CLOUD.channel_metadata, "next")).kid == "next"


async def test_an_unknown_key_while_the_authority_is_down_is_keys_unavailable(
    keys: SigningKeys, issuer: Issuer
) -> None:
    await keys.warm(URL)
    issuer.down = True

    assert await refusal(keys, "next") == "keys-unavailable"
    assert (await keys.key(URL, "entra")).kid == "entra"


# The lab


async def lab_refusal(issuer: Issuer, clock: Clock, *, url: str = URL) -> None:
    keys = SigningKeys(issuer, now=clock)
    with pytest.raises(SettingsError) as refused:
        await keys.warm(url)
    assert refused.value.code == "lab-in-public"
    assert str(refused.value).startswith("cloud: http")
    clock.time += 10
    assert await refusal(keys, url=url) == "keys-unavailable"
    lenient = SigningKeys(issuer, now=clock, allow_lab=True)
    assert (await lenient.key(url, "entra")).kid == "entra"


@pytest.mark.parametrize("mark", [True, "true", 1, None])
async def test_marked_metadata_is_for_the_lab(issuer: Issuer, clock: Clock, mark: object) -> None:
    issuer.publish(URL, jwk("entra"), skills_host_lab=mark)

    await lab_refusal(issuer, clock)


async def test_marked_keys_are_for_the_lab(issuer: Issuer, clock: Clock) -> None:
    issuer.documents[f"{URL}/keys"]["skills_host_lab"] = True

    await lab_refusal(issuer, clock)


async def test_metadata_over_plain_http_is_for_the_lab(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(LOCAL, jwk("entra"))

    await lab_refusal(issuer, clock, url=LOCAL)


async def test_keys_over_plain_http_are_for_the_lab(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(LOCAL, jwk("entra"))
    issuer.documents[URL] = {"jwks_uri": f"{LOCAL}/keys"}

    await lab_refusal(issuer, clock)


async def test_nothing_is_asked_over_plain_http_in_public(issuer: Issuer, clock: Clock) -> None:
    issuer.publish(LOCAL, jwk("entra"))

    await refusal(SigningKeys(issuer, now=clock), url=LOCAL)

    assert issuer.asked == []


async def test_an_authority_that_turns_into_a_lab_keeps_its_old_keys(
    keys: SigningKeys, issuer: Issuer, clock: Clock
) -> None:
    await keys.warm(URL)
    issuer.publish(URL, jwk("entra"), jwk("lab"), skills_host_lab=True)
    clock.time += DAY

    await keys.key(URL, "entra")
    await settled()

    assert await refusal(keys, "lab") == "keys-unavailable"
    assert (await keys.key(URL, "entra")).kid == "entra"


# How long keys are kept


@pytest.mark.parametrize(
    ("header", "quiet", "due"),
    [
        ("", DAY / 2 - 1, DAY / 2),
        ("public, max-age=3600", 1799, 1800),
        ("Max-Age=86400, s-maxage=10", DAY / 2 - 1, DAY / 2),
        ("max-age=999999999", DAY / 2 - 1, DAY / 2),
        ("max-age=0", 59, 60),
        ("no-store", DAY / 2 - 1, DAY / 2),
    ],
)
async def test_keys_are_fetched_anew_at_half_of_their_time(
    issuer: Issuer, clock: Clock, header: str, quiet: float, due: float
) -> None:
    async def cached(request: Request) -> Response:
        answer = await issuer(request)
        return replace(answer, headers={"cache-control": header})

    keys = SigningKeys(cached, now=clock)
    await keys.warm(URL)
    asked = []
    for seconds in (quiet, due - quiet):
        clock.time += seconds
        await keys.key(URL, "entra")
        await settled()
        asked.append(issuer.fetches(URL))

    assert asked == [1, 2]
