"""Signing keys of the lab: one signs, its two predecessors are still published."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

__all__ = ["KeyRing"]

PUBLISHED = 3


class KeyRing:
    """RSA 2048 keys that exist in memory only; `members` is added to every published key."""

    def __init__(
        self,
        name: str,
        *,
        members: Mapping[str, Any] | None = None,
        new_id: Callable[[], str] = lambda: uuid4().hex[:12],
    ) -> None:
        self._name = name
        self._members = dict(members or {})
        self._new_id = new_id
        self._keys: list[tuple[str, rsa.RSAPrivateKey]] = []
        self.rotate()

    def __repr__(self) -> str:
        return f"KeyRing({self._name!r}, kid={self.kid!r})"

    @property
    def kid(self) -> str:
        """The id of the key that signs at the moment."""
        return self._keys[0][0]

    def rotate(self) -> None:
        """Sign with a new key from now on; keys older than two generations are withdrawn."""
        # A new id for every start of the lab: a verifier may still remember the last run's keys.
        kid = f"lab-{self._name}-{self._new_id()}"
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._keys = [(kid, key), *self._keys][:PUBLISHED]

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A compact RS256 token over `claims`, exactly as they are given."""
        kid, key = self._keys[0]
        headers = {"kid": kid, "x5t": kid}
        return jwt.encode(dict(claims), key, algorithm="RS256", headers=headers)

    def jwks(self) -> list[dict[str, Any]]:
        """The public halves, newest first, as JSON Web Keys."""
        return [self._published(kid, key) for kid, key in self._keys]

    def _published(self, kid: str, key: rsa.RSAPrivateKey) -> dict[str, Any]:
        numbers = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
        named = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "x5t": kid}
        return named | {"n": numbers["n"], "e": numbers["e"]} | self._members
