"""The lab takes client assertions as Entra does: who made them, for whom, when, and only once."""

from __future__ import annotations

import asyncio
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha1, sha256
from itertools import count
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest

from skills_host.auth.credentials import ClientCertificate
from skills_host.lab.authority import Authority, LabApp
from skills_host.lab.refusals import FAULTS, GrantRefused
from skills_host.lab.service import create_lab
from skills_host.transport import Request
from tests.auth.pairs import bot_pair, pair
from tests.lab.world import LAB_URL, ROOT_ID, SKILL_ID, Clock, loopback

TOKEN_URL = f"{LAB_URL}/common/oauth2/v2.0/token"
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
OWN = bot_pair()
STRANGER = pair("other")
NUMBERS = count()


@pytest.fixture(scope="module")
def authority(clock: Clock) -> Authority:
    """A root with a certificate, and a skill with a secret."""
    apps = (
        LabApp(ROOT_ID, certificate=OWN.pem.decode()),
        LabApp(SKILL_ID, "skill-secret", token_version="1.0"),
    )
    return Authority(apps=apps, base_url=LAB_URL, now=clock)


def digest(made: bytes, *, padding: str = "") -> str:
    return urlsafe_b64encode(made).rstrip(b"=").decode() + padding


def assertion(
    clock: Clock,
    *,
    header: dict[str, Any] | None = None,
    key: Any = OWN.key,
    algorithm: str = "PS256",
    **claims: Any,
) -> str:
    """A sound assertion of the root, made without our own code, but for what is changed."""
    now = int(clock())
    usual: dict[str, Any] = {
        "aud": TOKEN_URL,
        "iss": ROOT_ID,
        "sub": ROOT_ID,
        "jti": f"jti-{next(NUMBERS)}",
        "exp": now + 600,
    }
    named = {"x5t#S256": digest(sha256(OWN.der).digest())} if header is None else header
    kept = {name: value for name, value in (usual | claims).items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm, headers=named)


def form(assertion: str, **more: str) -> dict[str, str]:
    return {
        "grant_type": "client_credentials",
        "client_id": ROOT_ID,
        "client_assertion_type": TYPE,
        "client_assertion": assertion,
        "scope": f"{SKILL_ID}/.default",
    } | more


def issued(authority: Authority, assertion: str, **more: str) -> dict[str, Any]:
    """The claims of the token that an assertion gets."""
    answer = authority.issue("common", form(assertion, **more), endpoint_version="2.0")
    return jwt.decode(answer["access_token"], options={"verify_signature": False})


# What is taken

SHA1 = digest(sha1(OWN.der).digest())
SHA256 = digest(sha256(OWN.der).digest())
DER = b64encode(OWN.der).decode()
LINES = "\n".join(OWN.pem.decode().splitlines()[1:-1])


@pytest.mark.parametrize(
    ("algorithm", "header"),
    [
        ("RS256", {"x5t": SHA1}),
        ("RS256", {"x5t": SHA1 + "="}),
        ("PS256", {"x5t#S256": SHA256}),
        ("PS256", {"x5t#S256": SHA256 + "=", "x5c": [LINES]}),
        ("PS256", {"x5t#S256": SHA256, "x5c": [DER, b64encode(STRANGER.der).decode()]}),
        ("RS256", {"x5t": SHA1, "x5t#S256": SHA256}),
    ],
)
def test_both_thumbprints_are_taken(
    authority: Authority, clock: Clock, algorithm: str, header: dict[str, Any]
) -> None:
    """Padding and line ends as MSAL leaves them."""
    claims = issued(authority, assertion(clock, algorithm=algorithm, header=header))

    assert (claims["appid"], claims["aud"]) == (ROOT_ID, SKILL_ID)


def test_a_token_says_how_its_client_proved_itself(authority: Authority, clock: Clock) -> None:
    """By a certificate, or by a secret."""
    skill = {"client_id": SKILL_ID, "client_secret": "skill-secret", "scope": f"{ROOT_ID}/.default"}

    assert issued(authority, assertion(clock))["appidacr"] == "2"
    assert issued(authority, "", **skill)["azpacr"] == "1"


def test_the_client_id_may_be_in_the_assertion_alone(authority: Authority, clock: Clock) -> None:
    """Forms of this kind need not repeat it."""
    assert issued(authority, assertion(clock), client_id="")["appid"] == ROOT_ID


@pytest.mark.parametrize("path", ["/common/oauth2/v2.0/token", "/common/oauth2/token"])
def test_the_audience_is_where_the_request_came_to(
    authority: Authority, clock: Clock, path: str
) -> None:
    """Under whatever name the lab was reached."""
    base = "https://login.microsoftonline.com"
    made = form(assertion(clock, aud=base + path))

    assert authority.issue("common", made, endpoint_version="2.0", base_url=base)["access_token"]


@pytest.mark.parametrize("shift", [-850, 250])
def test_clocks_may_differ(authority: Authority, clock: Clock, shift: float) -> None:
    """By five minutes."""
    now = clock()

    assert issued(authority, assertion(clock, nbf=now + shift, exp=now + shift + 600))


# What is refused

Change = Callable[[Clock], dict[str, Any]]
REFUSED: dict[str, tuple[str, int, Change]] = {
    "an expired one": (
        "assertion-time",
        700024,
        lambda now: {"nbf": now() - 1000, "exp": now() - 301},
    ),
    "one of tomorrow": ("assertion-time", 700024, lambda now: {"nbf": now() + 301}),
    "one for years": ("assertion-time", 700024, lambda now: {"exp": now() + 1e9}),
    "one without end": ("assertion-time", 700024, lambda now: {"exp": None}),
    "an end that is no time": ("assertion-time", 700024, lambda now: {"exp": "soon"}),
    "another audience": (
        "assertion-audience",
        700023,
        lambda now: {"aud": TOKEN_URL.replace("common", "elsewhere")},
    ),
    "no audience": ("assertion-audience", 700023, lambda now: {"aud": None}),
    "a list of audiences": ("assertion-audience", 700023, lambda now: {"aud": [TOKEN_URL]}),
    "another issuer": ("assertion-client", 700021, lambda now: {"iss": SKILL_ID}),
    "another subject": ("assertion-client", 700021, lambda now: {"sub": SKILL_ID}),
    "no issuer": ("assertion-client", 700021, lambda now: {"iss": None}),
    "no jti": ("assertion-malformed", 50027, lambda now: {"jti": None}),
    "a jti that is no text": ("assertion-malformed", 50027, lambda now: {"jti": " "}),
    "another key": ("assertion-signature", 700027, lambda now: {"key": STRANGER.key}),
    "an algorithm without a key": (
        "assertion-signature",
        700027,
        lambda now: {"key": "x" * 32, "algorithm": "HS256"},
    ),
    "no signature": (
        "assertion-signature",
        700027,
        lambda now: {"key": None, "algorithm": "none"},
    ),
    "another certificate": (
        "assertion-key",
        700027,
        lambda now: {
            "key": STRANGER.key,
            "header": {"x5t#S256": digest(sha256(STRANGER.der).digest())},
        },
    ),
    "a certificate that it brings itself": (
        "assertion-key",
        700027,
        lambda now: {
            "key": STRANGER.key,
            "header": {"x5t": SHA1, "x5c": [b64encode(STRANGER.der).decode()]},
        },
    ),
    "two thumbprints that disagree": (
        "assertion-key",
        700027,
        lambda now: {"header": {"x5t#S256": SHA256, "x5t": SHA256}},
    ),
    "no thumbprint": ("assertion-key", 700027, lambda now: {"header": {}}),
    "a chain that is none": (
        "assertion-key",
        700027,
        lambda now: {"header": {"x5t": SHA1, "x5c": "x"}},
    ),
    "a chain of nothing readable": (
        "assertion-key",
        700027,
        lambda now: {"header": {"x5t": SHA1, "x5c": ["x"]}},
    ),
}


def refusal(authority: Authority, made: dict[str, str]) -> GrantRefused:
    with pytest.raises(GrantRefused) as refused:
        authority.issue("common", made, endpoint_version="2.0")
    return refused.value


@pytest.mark.parametrize("reason", REFUSED)
def test_an_assertion_is_refused_for(authority: Authority, clock: Clock, reason: str) -> None:
    fault, number, change = REFUSED[reason]
    refused = refusal(authority, form(assertion(clock, **change(clock))))

    assert refused.fault == FAULTS[fault]
    assert authority.refusal(refused)["error_codes"] == [number]


@pytest.mark.parametrize("made", ["x", "a.b.c", "e30.e30.e30", "\u00fc"])
def test_what_is_no_assertion_is_refused(authority: Authority, made: str) -> None:
    """Not an internal error."""
    assert refusal(authority, form(made)).fault.error in ("invalid_request", "invalid_client")
    assert refusal(authority, form(made, client_id="")).fault == FAULTS["parameter"]


def test_an_app_without_certificate_makes_no_assertions(authority: Authority, clock: Clock) -> None:
    made = assertion(clock, iss=SKILL_ID, sub=SKILL_ID)

    assert refusal(authority, form(made, client_id=SKILL_ID)).fault == FAULTS["assertion-key"]


def test_an_assertion_is_taken_once(authority: Authority, clock: Clock) -> None:
    """Another one with another jti is as good as the first."""
    made = assertion(clock)

    assert issued(authority, made)
    assert refusal(authority, form(made)).fault == FAULTS["assertion-used"]
    assert issued(authority, assertion(clock))


def test_an_old_jti_is_forgotten() -> None:
    """When its assertion has expired, no other can be in its place."""
    clock = Clock()
    app = LabApp(ROOT_ID, certificate=OWN.pem.decode())
    authority = Authority(apps=[app], base_url=LAB_URL, now=clock)
    scope = {"scope": f"{ROOT_ID}/.default"}

    assert issued(authority, assertion(clock, jti="one"), **scope)
    clock.seconds += 901
    assert issued(authority, assertion(clock, jti="one"), **scope)


# Over HTTP


async def test_of_two_at_once_one_is_taken(authority: Authority, clock: Clock) -> None:
    """Whoever copies a request on its way gains nothing."""
    send = loopback(create_lab(authority, mint_secret="mint"))
    request = Request(
        "POST",
        TOKEN_URL,
        {"Content-Type": "application/x-www-form-urlencoded"},
        urlencode(form(assertion(clock))).encode(),
    )

    answers = await asyncio.gather(send(request), send(request))

    assert sorted(answer.status for answer in answers) == [200, 401]
    assert any(b"AADSTS50013" in answer.body for answer in answers)


@pytest.mark.parametrize(
    "thumbprint",
    [sha1(OWN.der).hexdigest(), sha256(OWN.der).hexdigest()],
    ids=["SHA-1", "SHA-256"],
)
def test_our_own_assertions_are_taken(authority: Authority, clock: Clock, thumbprint: str) -> None:
    """With and without a chain."""
    for chain in ((), (OWN.der,)):
        own = ClientCertificate(ROOT_ID, "", OWN.key, thumbprint, chain=chain)  # type: ignore[arg-type]
        made = dict(own.form(f"{SKILL_ID}/.default", token_url=TOKEN_URL, now=clock()))

        assert authority.issue("common", made, endpoint_version="2.0")["access_token"]


def test_metadata_offers_both_proofs(authority: Authority) -> None:
    offered = authority.entra_metadata("common")["token_endpoint_auth_methods_supported"]

    assert offered == ["client_secret_post", "private_key_jwt"]


def test_a_certificate_that_has_expired_is_refused() -> None:
    """As Entra says it; the assertion itself is sound."""
    clock = Clock(OWN.certificate.not_valid_after_utc.timestamp())
    authority = Authority(
        apps=[LabApp(ROOT_ID, certificate=OWN.pem.decode()), LabApp(SKILL_ID, "s")],
        base_url=LAB_URL,
        now=clock,
    )
    refused = refusal(authority, form(assertion(clock)))

    assert refused.fault == FAULTS["assertion-expired"]
    assert refused.fault.number == 700027
