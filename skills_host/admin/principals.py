"""From an Authorization header to an actor of the registry, before a byte of body is read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from skills_host.admin.tokens import PREFIX, AdminTokens
from skills_host.admin_settings import AdminEntra
from skills_host.auth.denials import UNSIGNED, Denied
from skills_host.auth.keys import SigningKeys
from skills_host.auth.principals import principal_of
from skills_host.auth.verify import HEADER_CHARACTERS, bearer_token, check_signature, parsed_token
from skills_host.clouds import Cloud
from skills_host.consumer.registry.records import Actor, Role

__all__ = ["Principals"]

ADDRESSES = 1024
GOOD = 256
WINDOW = 60.0


@dataclass(slots=True)
class _Failures:
    """How often an address came with a bad token since `since`."""

    since: float
    count: int = 0


class Principals:
    """Who may come in: tokens of the store, and of Entra where settings say so.

    Whoever comes with bad tokens too often is turned away without a look at the store, unless the
    token was good a while ago: then it is looked up as always.
    """

    def __init__(
        self,
        tokens: AdminTokens,
        *,
        keys: SigningKeys,
        cloud: Cloud,
        entra: AdminEntra | None,
        failures: int,
        now: Callable[[], float],
    ) -> None:
        self._tokens = tokens
        self._keys = keys
        self._cloud = cloud
        self._entra = entra
        self._most = failures
        self._now = now
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._good: OrderedDict[bytes, None] = OrderedDict()

    async def admit(self, header: str | None, *, address: str) -> Actor:
        """Who calls, from an address. Raises `Denied`."""
        digest = sha256((header or "").encode()).digest()
        if digest not in self._good and self._is_over(address):
            raise Denied("admin-throttled", expected=f"{self._most} a minute")
        try:
            actor = await self._known(header)
        except Denied as exc:
            self._good.pop(digest, None)
            if exc.code in UNSIGNED and exc.code != "keys-unavailable":
                self._failed(address)
            raise
        self._good[digest] = None
        if len(self._good) > GOOD:
            self._good.popitem(last=False)
        return actor

    async def _known(self, header: str | None) -> Actor:
        text = (header or "").partition(" ")[2]
        if header and len(header) <= HEADER_CHARACTERS and text.startswith(PREFIX):
            if not header.lower().startswith("bearer "):
                raise Denied("bad-scheme", expected="Bearer TOKEN")
            token = await self._tokens.known(text)
            return Actor(f"token:{token.name}", frozenset(token.roles))
        jwt = bearer_token(header)
        if self._entra is None:
            raise Denied("admin-token")
        parsed = parsed_token(jwt)
        key = await self._keys.key(self._cloud.entra_metadata, parsed.kid)
        check_signature(jwt, key)
        found = principal_of(
            parsed.claims,
            audience=self._entra.audience,
            tenants=frozenset(self._entra.tenants),
            cloud=self._cloud,
            now=self._now(),
        )
        return Actor(found.name, frozenset(role for role in Role if role.value in found.roles))

    def _is_over(self, address: str) -> bool:
        failures = self._failures.get(address)
        if failures is None or self._now() >= failures.since + WINDOW:
            return False
        return failures.count >= self._most

    def _failed(self, address: str) -> None:
        now = self._now()
        failures = self._failures.get(address)
        if failures is None or now >= failures.since + WINDOW:
            failures = self._failures[address] = _Failures(now)
        failures.count += 1
        self._failures.move_to_end(address)
        if len(self._failures) > ADDRESSES:
            self._failures.popitem(last=False)
