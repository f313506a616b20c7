"""Signing keys of the lab: one signs; its successor and two predecessors are published with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

__all__ = ["KeyRing"]

PREDECESSORS = 2


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
        # The first is published and signs nothing yet, so that verifiers know it before it does.
        self._keys = [self._new_key(), self._new_key()]

    def __repr__(self) -> str:
        return f"KeyRing({self._name!r}, kid={self.kid!r})"

    @property
    def kid(self) -> str:
        """The id of the key that signs at the moment."""
        return self._keys[1][0]

    def rotate(self) -> None:
        """Sign with the next key from now on; keys older than two generations are withdrawn."""
        self._keys = [self._new_key(), *self._keys][: 2 + PREDECESSORS]

    def public_key(self, kid: object) -> rsa.RSAPublicKey | None:
        """The published key with this id, or None."""
        return next((key.public_key() for known, key in self._keys if known == kid), None)

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A compact RS256 token over `claims`, exactly as they are given."""
        kid, key = self._keys[1]
        headers = {"kid": kid, "x5t": kid}
        return jwt.encode(dict(claims), key, algorithm="RS256", headers=headers)

    def jwks(self) -> list[dict[str, Any]]:
        """The public halves, newest first, as JSON Web Keys."""
        return [self._published(kid, key) for kid, key in self._keys]

    def _new_key(self) -> tuple[str, rsa.RSAPrivateKey]:
        # A new id for every start of the lab: a verifier may still remember the last run's keys.
        kid = f"lab-{self._name}-{self._new_id()}"
        return kid, rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def _published(self, kid: str, key: rsa.RSAPrivateKey) -> dict[str, Any]:
        numbers = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
        named = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "x5t": kid}
        return named | {"n": numbers["n"], "e": numbers["e"]} | self._members
