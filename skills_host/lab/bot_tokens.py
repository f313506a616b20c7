"""The channel's own check of a bot's token, apart from the rules that the host applies.

A channel knows which bot it belongs to: it takes tokens for the Bot Connector, from Entra, of that
one application. Written against the protocol, not against `skills_host.auth`, so that a mistake
there is noticed here; only the codes of refusal are shared.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import jwt

from skills_host.auth.denials import Denied

__all__ = ["BotTokens", "EntraKeys"]

EntraKeys = Callable[[], Awaitable[Mapping[str, Any]]]
"""Fetches Entra's key set: `{"keys": [JWK, ...]}`."""

SKEW = 300.0
ISSUER = re.compile(
    r"https://(?:sts\.windows\.net/(?P<v1>[0-9a-f-]{36})/"
    r"|login\.microsoftonline\.com/(?P<v2>[0-9a-f-]{36})/v2\.0)"
)
APP_CLAIM = {"1.0": "appid", "2.0": "azp"}


class BotTokens:
    """Takes the tokens that `bot_app_id` got for `audience`; fetches keys when one is unknown."""

    def __init__(
        self,
        *,
        bot_app_id: str,
        entra_keys: EntraKeys,
        audience: str = "https://api.botframework.com",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._bot_app_id = bot_app_id
        self._entra_keys = entra_keys
        self._audience = audience
        self._now = now
        self._keys: dict[str, jwt.PyJWK] = {}

    async def check(self, header: str | None) -> None:
        """Check an Authorization header; `Denied` 401 for the token, 403 for another bot's."""
        token = _bearer(header)
        claims = _verified(token, await self._key(_kid(token)))
        _check_claims(claims, audience=self._audience, now=self._now())
        if claims.get(APP_CLAIM[claims["ver"]]) != self._bot_app_id:
            raise Denied("caller-not-allowed")

    async def _key(self, kid: str) -> jwt.PyJWK:
        if kid not in self._keys:
            document = await self._entra_keys()
            published = jwt.PyJWKSet.from_dict(dict(document)).keys
            self._keys = {key.key_id: key for key in published if key.key_id}
        if kid not in self._keys:
            raise Denied("unknown-key")
        return self._keys[kid]


def _bearer(header: str | None) -> str:
    if not header:
        raise Denied("no-header")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Denied("bad-scheme")
    return token


def _kid(token: str) -> str:
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise Denied("malformed-token") from None
    if header.get("alg") != "RS256":
        raise Denied("algorithm")
    return str(header.get("kid"))


def _verified(token: str, key: jwt.PyJWK) -> dict[str, Any]:
    # Only the signature is left to the library: it would take a list of audiences, for one.
    options: Any = {name: False for name in ("verify_exp", "verify_nbf", "verify_iat")}
    options |= {"verify_aud": False, "verify_iss": False, "verify_sub": False, "verify_jti": False}
    try:
        return jwt.decode(token, key, algorithms=["RS256"], options=options)
    except jwt.InvalidSignatureError:
        raise Denied("signature") from None
    except jwt.PyJWTError:
        raise Denied("malformed-token") from None


def _check_claims(claims: Mapping[str, Any], *, audience: str, now: float) -> None:
    expires, starts = claims.get("exp"), claims.get("nbf", 0)
    if not isinstance(expires, int | float) or not isinstance(starts, int | float):
        raise Denied("bad-claim")
    if now > expires + SKEW:
        raise Denied("expired")
    if now < starts - SKEW:
        raise Denied("not-yet-valid")
    if claims.get("aud") != audience:
        raise Denied("audience")
    issuer = ISSUER.fullmatch(str(claims.get("iss")))
    if issuer is None:
        raise Denied("issuer")
    if claims.get("tid") != (issuer["v1"] or issuer["v2"]):
        raise Denied("tenant-binding")
    if claims.get("ver") not in ("1.0", "2.0"):
        raise Denied("version")
