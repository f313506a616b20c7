"""The form that proves who a bot is, and the settings that it is made from."""

from __future__ import annotations

from base64 import b64encode
from itertools import count
from typing import Any

import jwt
import pytest

from skills_host.auth.credentials import (
    ClientCertificate,
    ClientCredential,
    ClientSecret,
    TokenCredential,
    credential_of,
)
from skills_host.errors import SettingsError
from skills_host.settings import BotSettings, Cloud
from tests.auth.issuer import BOT, HOME, NOW
from tests.auth.pairs import Pair, bot_pair, pair

TOKEN_URL = "https://login.example/token"
OWN = bot_pair()
WHOLE = (OWN.pem + OWN.key_pem()).decode()


def form(credential: ClientCredential) -> dict[str, str]:
    return dict(credential.form("x/.default", token_url=TOKEN_URL, now=NOW))


def credential(now: float = NOW, **given: Any) -> ClientCredential:
    """What a bot with these settings proves itself with."""
    bot = BotSettings.model_validate(
        {"kind": "root", "app_id": BOT, "tenant": HOME, "credential": given}
    )
    numbers = count()
    made = credential_of("root", bot, cloud=Cloud(), now=now, new_id=lambda: f"id-{next(numbers)}")
    assert not isinstance(made, TokenCredential)
    return made


def header(**given: Any) -> dict[str, Any]:
    """The header of an assertion that a bot with these settings sends."""
    assertion = form(credential(**given))["client_assertion"]
    jwt.decode(
        assertion,
        OWN.certificate.public_key(),  # type: ignore[arg-type]
        algorithms=["RS256", "PS256"],
        audience=TOKEN_URL,
        options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )
    return jwt.get_unverified_header(assertion)


# Secrets


def test_a_client_secret_makes_the_fields_of_the_request() -> None:
    assert form(credential(secret="s3cret")) == {
        "grant_type": "client_credentials",
        "client_id": BOT,
        "client_secret": "s3cret",
        "scope": "x/.default",
    }


def test_a_client_secret_never_shows_it() -> None:
    shown = repr(ClientSecret(BOT, HOME, "s3cret"))

    assert "s3cret" not in shown
    assert BOT in shown


# Certificates


def test_a_certificate_makes_the_fields_of_the_request() -> None:
    fields = form(credential(certificate=WHOLE))

    assert fields | {"client_assertion": ""} == {
        "grant_type": "client_credentials",
        "client_id": BOT,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": "",
        "scope": "x/.default",
    }


def test_every_form_has_a_fresh_assertion() -> None:
    made = credential(certificate=WHOLE)

    ids = [
        jwt.decode(form(made)["client_assertion"], options={"verify_signature": False})["jti"]
        for _ in range(2)
    ]
    assert ids == ["id-0", "id-1"]


def test_the_tenant_is_the_bots() -> None:
    assert credential(certificate=WHOLE).tenant == HOME


def test_a_certificate_is_named_by_sha256_unless_said() -> None:
    assert {"alg": "PS256", "typ": "JWT"}.items() < header(certificate=WHOLE).items()
    assert "x5t" not in header(certificate=WHOLE)
    assert header(certificate=WHOLE, thumbprint="sha1")["alg"] == "RS256"


def test_a_chain_is_sent_where_it_is_asked_for() -> None:
    assert "x5c" not in header(certificate=WHOLE)
    assert header(certificate=WHOLE, send_chain=True)["x5c"] == [b64encode(OWN.der).decode()]


def test_a_pfx_comes_in_base64() -> None:
    pfx = b64encode(OWN.pfx("hush")).decode()

    assert header(certificate=pfx, password="hush")["alg"] == "PS256"


def test_an_empty_password_is_none() -> None:
    assert header(certificate=WHOLE, password="")["alg"] == "PS256"


def test_a_thumbprint_and_a_key_are_enough() -> None:
    thumbprint = OWN.certificate.fingerprint(OWN.certificate.signature_hash_algorithm)  # type: ignore[arg-type]
    key = OWN.key_pem("hush").decode()

    assert header(key=key, password="hush", thumbprint=thumbprint.hex(":"))["alg"] == "PS256"
    assert header(key=key, password="hush", thumbprint="AB" * 20)["alg"] == "RS256"


def test_a_certificate_is_never_shown() -> None:
    made = credential(certificate=WHOLE, send_chain=True)

    assert isinstance(made, ClientCertificate)
    assert "PRIVATE" not in repr(made) and "RSA" not in repr(made)
    assert BOT in repr(made)


def late(own: Pair) -> str:
    return (own.pem + own.key_pem()).decode()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"certificate": late(pair(days=0.01))}, "certificate: the certificate has expired"),
    "not yet valid": (
        {"certificate": late(pair(begins=NOW + 60))},
        "certificate: the certificate is not yet valid",
    ),
    "another key": (
        {"certificate": OWN.pem.decode(), "key": pair("other").key_pem().decode()},
        "certificate: the certificate does not match its key",
    ),
    "a small key": (
        {"certificate": late(pair("small", bits=1024))},
        "key: the private key has fewer than 2048 bits",
    ),
    "no key": ({"certificate": OWN.pem.decode()}, "key: there is no private key"),
    "a foreign thumbprint": (
        {"certificate": WHOLE, "thumbprint": "AB" * 20},
        "thumbprint: it is not that of the certificate",
    ),
    "no password": (
        {"certificate": OWN.pem.decode(), "key": OWN.key_pem("hush").decode()},
        "password: the key is encrypted",
    ),
    "no base64": ({"certificate": "x"}, "certificate: expected PEM"),
    "neither form": ({"certificate": "hush-hush"}, "certificate: it is neither"),
    "no key in the key": ({"key": "aHVzaA==", "thumbprint": "AB" * 20}, "key: there is no"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_settings_are_refused_by_name_for(reason: str) -> None:
    given, said = REFUSED[reason]
    with pytest.raises(SettingsError) as caught:
        credential(**given)

    assert str(caught.value).startswith(f"bots.root.credential.{said}")
    assert (caught.value.code, "hush" in str(caught.value)) == ("settings", False)
