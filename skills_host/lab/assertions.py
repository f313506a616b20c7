"""The authority's check of a client assertion, apart from the code that makes them."""

from __future__ import annotations

import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Collection, Mapping
from typing import Any

import jwt

from skills_host.auth.certificates import Certificate
from skills_host.lab.refusals import GrantRefused

__all__ = ["ASSERTION_TYPE", "Assertions", "claimed_app_id"]

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS = ("RS256", "PS256")
LATEST = 1e12
LONGEST = 24 * 3600.0
SKEW = 300.0
IDENTIFIER = re.compile(r"[\x21-\x7e]{1,256}")
NAMES = {"x5t": "sha1", "x5t#S256": "sha256"}

# Every rule about claims is here; the library parses and checks the signature.
SIGNATURE_ONLY: Any = {
    f"verify_{name}": False for name in ("aud", "exp", "iat", "iss", "jti", "nbf", "sub")
}


class Assertions:
    """Checks assertions of registered certificates, and takes each one only once.

    What was taken is remembered until it has expired.
    """

    def __init__(self) -> None:
        self._taken: dict[tuple[str, str], float] = {}

    def check(
        self,
        assertion: str,
        *,
        client_id: str,
        certificates: Collection[Certificate],
        audiences: Collection[str],
        now: float,
    ) -> None:
        """Raise `GrantRefused` unless `client_id` made this for one of `audiences`, to use now."""
        claims = _verified(assertion, certificates, now=now)
        if not _names(claims, client_id):
            raise GrantRefused("assertion-client")
        audience = claims.get("aud")
        if not isinstance(audience, str) or audience not in audiences:
            raise GrantRefused("assertion-audience")
        expires = _checked_times(claims, now)
        self._take(client_id, claims.get("jti"), expires=expires, now=now)

    def _take(self, client_id: str, jti: object, *, expires: float, now: float) -> None:
        if not isinstance(jti, str) or not IDENTIFIER.fullmatch(jti):
            raise GrantRefused("assertion-malformed")
        self._taken = {used: end for used, end in self._taken.items() if now < end + SKEW}
        if (client_id, jti) in self._taken:
            raise GrantRefused("assertion-used")
        self._taken[client_id, jti] = expires


def claimed_app_id(assertion: str) -> str:
    """Who an unverified assertion says it is from, for forms without a client id, or ""."""
    try:
        claims = jwt.decode(assertion, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        return ""
    subject = claims.get("sub")
    return subject if isinstance(subject, str) else ""


def _verified(
    assertion: str, certificates: Collection[Certificate], *, now: float
) -> Mapping[str, Any]:
    try:
        header = jwt.get_unverified_header(assertion)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise GrantRefused("assertion-malformed") from None
    certificate = _named(header, certificates)
    _check_chain(header, certificate)
    if now >= certificate.not_after:
        raise GrantRefused("assertion-expired")
    try:
        return jwt.decode(
            assertion, certificate.public_key(), algorithms=ALGORITHMS, options=SIGNATURE_ONLY
        )
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise GrantRefused("assertion-signature") from None


def _named(header: Mapping[str, Any], certificates: Collection[Certificate]) -> Certificate:
    """The registered certificate of all thumbprints in the header, of which there is one."""
    # MSAL leaves the padding that base64url has elsewhere.
    given = {name: str(header[name]).rstrip("=") for name in NAMES if name in header}
    if not given:
        raise GrantRefused("assertion-key")
    for certificate in certificates:
        own = {name: _digest(getattr(certificate, kind)) for name, kind in NAMES.items()}
        if given.items() <= own.items():
            return certificate
    raise GrantRefused("assertion-key")


def _check_chain(header: Mapping[str, Any], certificate: Certificate) -> None:
    if "x5c" not in header:
        return
    chain = header["x5c"]
    if not isinstance(chain, list) or not chain or not isinstance(chain[0], str):
        raise GrantRefused("assertion-key")
    try:
        # MSAL leaves the line ends of PEM in the base64, which the decoder passes over.
        own = b64decode(chain[0].encode())
    except ValueError:
        own = b""
    if own != certificate.chain[0]:
        raise GrantRefused("assertion-key")


def _digest(thumbprint: str) -> str:
    return urlsafe_b64encode(bytes.fromhex(thumbprint)).rstrip(b"=").decode("ascii")


def _names(claims: Mapping[str, Any], client_id: str) -> bool:
    named = (claims.get("iss"), claims.get("sub"))
    return all(isinstance(name, str) and name.lower() == client_id for name in named)


def _checked_times(claims: Mapping[str, Any], now: float) -> float:
    expires = _instant(claims.get("exp"))
    begins = _instant(claims.get("nbf", now))
    if not begins - SKEW <= now < expires + SKEW or expires > now + LONGEST:
        raise GrantRefused("assertion-time")
    return expires


def _instant(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LATEST:
        raise GrantRefused("assertion-time")
    return float(value)
