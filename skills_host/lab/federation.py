"""The authority's check of a token that somebody else issued, which an app trusts as its proof."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jwt

from skills_host.lab.keyring import KeyRing
from skills_host.lab.refusals import GrantRefused

__all__ = ["EXCHANGES", "check_exchanged", "is_own"]

EXCHANGES = (
    "api://AzureADTokenExchange",
    "api://AzureADTokenExchangeUSGov",
    "api://AzureADTokenExchangeChina",
)
"""What a token to be exchanged is meant for, in each cloud."""

SKEW = 300.0

# Every rule about claims is here; the library parses and checks the signature.
SIGNATURE_ONLY: Any = {
    f"verify_{name}": False for name in ("aud", "exp", "iat", "iss", "jti", "nbf", "sub")
}


def is_own(assertion: str, client_id: str) -> bool:
    """True if an unverified assertion says that the client itself made it."""
    try:
        claims = jwt.decode(assertion, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        return False
    issuer = claims.get("iss")
    return isinstance(issuer, str) and issuer.lower() == client_id


def check_exchanged(
    assertion: str, *, rings: Iterable[KeyRing], trusted: Mapping[str, str], now: float
) -> None:
    """Raise `GrantRefused` unless one of `trusted` (subject → issuer) proves itself so, now."""
    claims = _verified(assertion, rings)
    if claims.get("iss") not in trusted.values():
        raise GrantRefused("exchange-issuer")
    if claims.get("aud") not in EXCHANGES:
        raise GrantRefused("exchange-audience")
    if trusted.get(str(claims.get("sub"))) != claims.get("iss"):
        raise GrantRefused("exchange-subject")
    expires = claims.get("exp")
    if not isinstance(expires, int) or now >= expires + SKEW:
        raise GrantRefused("assertion-time")


def _verified(assertion: str, rings: Iterable[KeyRing]) -> Mapping[str, Any]:
    try:
        kid = jwt.get_unverified_header(assertion).get("kid")
        key = next(filter(None, (ring.public_key(kid) for ring in rings)), None)
        if key is None:
            raise GrantRefused("exchange-issuer")
        return jwt.decode(assertion, key, algorithms=["RS256"], options=SIGNATURE_ONLY)
    except jwt.InvalidSignatureError:
        raise GrantRefused("assertion-signature") from None
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise GrantRefused("assertion-malformed") from None
