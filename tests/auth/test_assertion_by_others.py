"""Our client assertions, read by a library that had no part in making them."""

from __future__ import annotations

import json
from base64 import b64decode

import pytest
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from jwcrypto.common import base64url_decode
from jwcrypto.jwk import JWK
from jwcrypto.jwt import JWT

from skills_host.auth.credentials import ClientCertificate
from tests.auth.issuer import BOT, NOW
from tests.auth.pairs import bot_pair

TOKEN_URL = "https://login.example/tenant/oauth2/v2.0/token"
OWN = bot_pair()


def assertion(thumbprint: str, *chain: bytes) -> str:
    credential = ClientCertificate(BOT, "", OWN.key, thumbprint, chain=chain)  # type: ignore[arg-type]
    return credential.form("x/.default", token_url=TOKEN_URL, now=NOW)["client_assertion"]


def fingerprint(digest: HashAlgorithm) -> bytes:
    """As the certificate's own library gives it."""
    return OWN.certificate.fingerprint(digest)


@pytest.mark.parametrize(
    ("algorithm", "header", "digest"),
    [("PS256", "x5t#S256", SHA256()), ("RS256", "x5t", SHA1())],
)
def test_an_independent_library_takes_it(
    algorithm: str, header: str, digest: HashAlgorithm
) -> None:
    token = JWT(expected_type="JWS", algs=[algorithm])
    token.leeway = 10**9
    token.deserialize(assertion(fingerprint(digest).hex().upper()), JWK.from_pem(OWN.pem))
    claims, head = json.loads(token.claims), json.loads(token.header)

    assert (claims["aud"], claims["iss"], claims["sub"]) == (TOKEN_URL, BOT, BOT)
    assert claims["exp"] - claims["iat"] == 600
    assert head["alg"] == algorithm
    assert base64url_decode(head[header]) == fingerprint(digest)


def test_the_chain_that_is_sent_along_holds_the_key() -> None:
    token = JWT(expected_type="JWS", algs=["PS256"])
    token.leeway = 10**9
    token.deserialize(
        assertion(fingerprint(SHA256()).hex().upper(), OWN.der), JWK.from_pem(OWN.pem)
    )
    (sent,) = json.loads(token.header)["x5c"]

    assert b64decode(sent) == OWN.der


def test_another_key_does_not_take_it() -> None:
    key = JWK.generate(kty="RSA", size=2048)
    token = JWT(expected_type="JWS", algs=["PS256"])

    with pytest.raises(Exception, match="Verification failed|InvalidJWSSignature"):
        token.deserialize(assertion("AB" * 32), key)
