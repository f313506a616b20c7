"""A local authority for tests: RSA keys, metadata and key documents behind a plain `Send`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from skills_host.errors import TransportFailed
from skills_host.settings import CLOUDS
from skills_host.transport import Request, Response

CLOUD = CLOUDS["public"]
NOW = 1_800_000_000.0
BOT = "11111111-1111-4111-8111-11111111aaaa"
OTHER_BOT = "11111111-1111-4111-8111-11111111bbbb"
SKILL = "22222222-2222-4222-8222-22222222aaaa"
PARENT = "33333333-3333-4333-8333-33333333aaaa"
HOME = "44444444-4444-4444-8444-44444444aaaa"
FAR = "55555555-5555-4555-8555-55555555aaaa"
SHARED = CLOUD.shared_tenants[0]
SERVICE_URL = "https://smba.example/teams/"


class Clock:
    """A `now` that moves when told to."""

    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> float:
        return self.time


@cache
def private_key(name: str, bits: int) -> rsa.RSAPrivateKey:
    """One key per name for the whole session: making them is slow."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def jwk(kid: str, *, bits: int = 2048, **members: Any) -> dict[str, Any]:
    """The public half of a key as a member of a JWKS."""
    public = RSAAlgorithm.to_jwk(private_key(kid, bits).public_key(), as_dict=True)
    return {"kty": "RSA", "use": "sig", "kid": kid, "n": public["n"], "e": public["e"]} | members


def minted(claims: Mapping[str, Any], *, kid: str = "entra", **header: Any) -> str:
    """A token signed with RS256 by the key `kid`."""
    return jwt.encode(
        dict(claims), private_key(kid, 2048), algorithm="RS256", headers={"kid": kid} | header
    )


def skill_claims(**changes: Any) -> dict[str, Any]:
    """Claims of a version 2.0 token with which SKILL calls BOT; None takes a claim away."""
    claims = {
        "iss": f"https://login.microsoftonline.com/{SHARED}/v2.0",
        "tid": SHARED,
        "aud": BOT,
        "azp": SKILL,
        "ver": "2.0",
        "nbf": int(NOW) - 60,
        "exp": int(NOW) + 3600,
    }
    return {name: value for name, value in (claims | changes).items() if value is not None}


def channel_claims(**changes: Any) -> dict[str, Any]:
    """Claims of a token with which a channel calls BOT; None takes a claim away."""
    claims = {
        "iss": CLOUD.channel_issuer,
        "aud": BOT,
        "serviceurl": SERVICE_URL,
        "nbf": int(NOW) - 60,
        "exp": int(NOW) + 3600,
    }
    return {name: value for name, value in (claims | changes).items() if value is not None}


@dataclass
class Issuer:
    """An authority with two metadata addresses; an instance is a `Send`.

    While `gate` is set, answers wait until it opens; `asked` holds the addresses asked for.
    """

    documents: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    down: bool = False
    gate: asyncio.Event | None = None

    def __post_init__(self) -> None:
        self.publish(CLOUD.entra_metadata, jwk("entra"))
        self.publish(CLOUD.channel_metadata, jwk("channel", endorsements=["msteams"]))

    def publish(self, metadata_url: str, *keys: dict[str, Any], **members: Any) -> None:
        """Serve a metadata document and its keys; `members` are added to the metadata."""
        self.documents[metadata_url] = {"jwks_uri": f"{metadata_url}/keys"} | members
        self.documents[f"{metadata_url}/keys"] = {"keys": list(keys)}

    def fetches(self, metadata_url: str) -> int:
        """How often the keys of an address were asked for."""
        return self.asked.count(metadata_url)

    async def __call__(self, request: Request) -> Response:
        self.asked.append(request.url)
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise TransportFailed(code="unreachable", sent=False)
        document = self.documents.get(request.url)
        if document is None:
            return Response(404)
        return Response(200, body=document if isinstance(document, bytes) else dumped(document))


def dumped(document: Any) -> bytes:
    """A document as its authority sends it."""
    return json.dumps(document).encode()


async def settled() -> None:
    """Let every task that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)
