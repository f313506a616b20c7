"""A bot's certificate: every form of file, every reason to refuse one, what is signed with it."""

from __future__ import annotations

import hashlib
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from skills_host.auth.certificates import (
    BadCertificate,
    Certificate,
    check_valid,
    client_assertion,
    expiry_step,
    read_certificate,
    read_key,
    read_public_certificate,
)
from tests.auth.issuer import BOT, HOME, NOW
from tests.auth.pairs import Pair, bot_pair, pair

TOKEN_URL = f"https://login.microsoftonline.com/{HOME}/oauth2/v2.0/token"
DAY = 86400.0


def refusal(read: Callable[[], object]) -> str:
    """Which setting is to blame, and why."""
    with pytest.raises(BadCertificate) as caught:
        read()
    return f"{caught.value.member}: {caught.value}"


# Reading


def test_one_file_holds_certificate_and_key() -> None:
    own = bot_pair()

    for content in (own.pem + own.key_pem(), own.key_pem() + own.pem, own.pfx()):
        certificate = read_certificate(content)

        assert certificate.sha256 == hashlib.sha256(own.der).hexdigest().upper()
        assert certificate.private_key().public_key() == own.key.public_key()


def test_the_key_may_be_in_a_file_of_its_own() -> None:
    own = bot_pair()

    for content in (own.pem, own.der):
        assert read_certificate(content, key=own.key_pem()).chain == (own.der,)


def test_a_password_opens_what_is_encrypted() -> None:
    own = bot_pair()

    assert read_certificate(own.pfx("hush"), password="hush").key
    assert read_certificate(own.pem + own.key_pem("hush"), password="hush").key
    assert read_certificate(own.pem, key=own.key_pem("hush"), password="hush").key


def test_a_certificate_knows_what_it_is() -> None:
    own = bot_pair()
    certificate = read_certificate(own.pem + own.key_pem())

    assert certificate.subject == "CN=bot"
    assert certificate.sha1 == hashlib.sha1(own.der).hexdigest().upper()
    assert (certificate.not_before, certificate.days_left(NOW - 3600)) == (NOW - 3600, 365)


def test_no_repr_shows_the_key() -> None:
    certificate = read_certificate(bot_pair().pfx())

    assert "key" not in repr(certificate).lower()


def test_the_own_certificate_is_the_one_of_the_key() -> None:
    """And above it is who issued it, whatever order the file has; strangers are left out."""
    top = pair("top")
    middle = pair("middle", issuer=top)
    own = pair("leaf", issuer=middle)
    chain = (own.der, middle.der, top.der)
    stranger = bot_pair()

    pem = top.pem + stranger.pem + middle.pem + own.pem + own.key_pem()
    assert read_certificate(pem).chain == chain
    assert read_certificate(own.pfx(None, stranger, top, middle)).chain == chain


def test_the_public_part_can_be_read_alone() -> None:
    own = bot_pair()

    for content in (own.pem, own.der, own.pfx(), own.pem + own.key_pem("hush")):
        certificate = read_public_certificate(content)

        assert (certificate.chain, certificate.key) == ((own.der,), None)
    assert read_public_certificate(own.pfx("hush"), password="hush").chain == (own.der,)


# Refusals

OWN = bot_pair()
ELLIPTIC = pair("elliptic", key=ec.generate_private_key(ec.SECP256R1()))
SMALL = pair("small", bits=1024)

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a key of another certificate": (
        lambda: read_certificate(OWN.pem, key=pair("other").key_pem()),
        "certificate: the certificate does not match its key",
    ),
    "an elliptic key": (
        lambda: read_certificate(ELLIPTIC.pem + ELLIPTIC.key_pem()),
        "key: the private key is not RSA",
    ),
    "an elliptic key in a pfx": (
        lambda: read_certificate(ELLIPTIC.pfx()),
        "certificate: the private key is not RSA",
    ),
    "a small key": (
        lambda: read_certificate(SMALL.pem + SMALL.key_pem()),
        "key: the private key has fewer than 2048 bits",
    ),
    "no key": (lambda: read_certificate(OWN.pem), "key: there is no private key"),
    "a broken key": (
        lambda: read_key(b"-----BEGIN PRIVATE KEY-----\nxxxx\n-----END PRIVATE KEY-----"),
        "key: the private key cannot be read",
    ),
    "no certificate": (
        lambda: read_certificate(OWN.key_pem()),
        "certificate: there is no readable certificate",
    ),
    "a broken certificate": (
        lambda: read_certificate(OWN.pem.replace(b"MII", b"MIJ") + OWN.key_pem()),
        "certificate: there is no readable certificate",
    ),
    "something else": (lambda: read_certificate(b"something else"), "certificate: it is neither"),
    "something else with a key": (
        lambda: read_certificate(b"something else", key=OWN.key_pem()),
        "certificate: it is neither PEM nor a certificate in DER",
    ),
    "a wrong password": (
        lambda: read_certificate(OWN.pfx("hush"), password="hash"),
        "password: it does not open the file",
    ),
    "a wrong password of a key": (
        lambda: read_certificate(OWN.pem + OWN.key_pem("hush"), password="hash"),
        "password: it does not open the key",
    ),
    "a missing password": (
        lambda: read_certificate(OWN.pfx("hush")),
        "certificate: it is neither PEM nor a PFX file that opens without a password",
    ),
    "a missing password of a key": (
        lambda: read_certificate(OWN.pem + OWN.key_pem("hush")),
        "password: the key is encrypted",
    ),
    "a password of what is not encrypted": (
        lambda: read_certificate(OWN.pem + OWN.key_pem(), password="hush"),
        "password: the key is not encrypted",
    ),
    "a public certificate that is none": (
        lambda: read_public_certificate(b"something else"),
        "certificate: it is neither",
    ),
    "a private key that is not there": (
        lambda: read_public_certificate(OWN.pem).private_key(),
        "key: there is no private key",
    ),
    "an elliptic public key": (
        lambda: read_public_certificate(ELLIPTIC.pem).public_key(),
        "certificate: the certificate's key is not RSA",
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_certificate_is_refused_for(reason: str) -> None:
    read, said = REFUSED[reason]
    found = refusal(read)

    assert found.startswith(said)
    assert "hush" not in found and "hash" not in found


def certificate_of(own: Pair) -> Certificate:
    """A pair as our own code reads it."""
    return read_certificate(own.pem + own.key_pem())


def test_an_expired_certificate_is_refused() -> None:
    certificate = certificate_of(bot_pair())
    end = certificate.not_after

    check_valid(certificate, now=end - 1)
    assert refusal(lambda: check_valid(certificate, now=end)).endswith("has expired")


def test_a_certificate_of_tomorrow_is_refused() -> None:
    certificate = certificate_of(pair(begins=NOW + DAY))

    assert refusal(lambda: check_valid(certificate, now=NOW)).endswith("is not yet valid")
    check_valid(certificate, now=NOW + DAY)


@pytest.mark.parametrize(
    ("days", "step"),
    [(31, None), (30, None), (29.9, 30), (7, 30), (6.9, 7), (1, 7), (0.5, 1), (-3, 1)],
)
def test_an_end_is_announced_in_steps(days: float, step: int | None) -> None:
    assert expiry_step(days) == step


# Assertions: read by rules of the standards, not by ours


def verified(assertion: str, own: Pair) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of an assertion that the certificate's public key verifies."""
    whole = jwt.decode_complete(
        assertion,
        own.certificate.public_key(),  # type: ignore[arg-type]
        algorithms=["RS256", "PS256"],
        audience=TOKEN_URL,
        issuer=BOT,
        subject=BOT,
        options={
            "require": ["aud", "iss", "sub", "jti", "iat", "nbf", "exp"],
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
        },
    )
    return whole["header"], whole["payload"]


def assertion_of(own: Pair, kind: str, **more: Any) -> str:
    certificate = certificate_of(own)
    return client_assertion(
        key=certificate.private_key(),
        thumbprint=getattr(certificate, kind),
        client_id=BOT,
        token_url=TOKEN_URL,
        now=NOW + 0.5,
        jti="one",
        **more,
    )


@pytest.mark.parametrize(
    ("kind", "member", "algorithm"),
    [("sha256", "x5t#S256", "PS256"), ("sha1", "x5t", "RS256")],
)
def test_an_assertion_names_its_certificate(kind: str, member: str, algorithm: str) -> None:
    header, _ = verified(assertion_of(bot_pair(), kind), bot_pair())

    digest = urlsafe_b64decode(header[member] + "==")
    assert digest == hashlib.new(kind, bot_pair().der).digest()
    assert header == {"alg": algorithm, "typ": "JWT", member: header[member]}


def test_an_assertion_lives_ten_minutes() -> None:
    _, claims = verified(assertion_of(bot_pair(), "sha256"), bot_pair())

    assert claims == {
        "aud": TOKEN_URL,
        "iss": BOT,
        "sub": BOT,
        "jti": "one",
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 600,
    }


def test_an_assertion_can_carry_its_chain() -> None:
    """Own certificate first, in base64 of DER without line ends."""
    top = pair("top")
    own = pair("leaf", issuer=top)
    header, _ = verified(assertion_of(own, "sha256", chain=(own.der, top.der)), own)

    assert [b64decode(part, validate=True) for part in header["x5c"]] == [own.der, top.der]
