"""What a root keeps in memory for each conversation in which nothing happens any more.

A root in this process, its network played by one function: the authority, a channel and a skill
that take everything. Each conversation begins with the skill, and then nobody says anything.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from skills_host import create_app, wire
from skills_host.app import World
from skills_host.configuration import from_mapping
from skills_host.transport import Request, Response

__all__ = ["Outside", "growth", "settings"]

ROOT, SKILL = "a0000000-0000-4000-8000-000000000001", "b0000000-0000-4000-8000-000000000001"
LAB = "http://127.0.0.1:9"
CHANNEL = "http://127.0.0.1:9/channel/"


class Outside:
    """Everything that the root calls; an instance is a `Send`."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    async def __call__(self, request: Request) -> Response:
        """The authority's documents and tokens, and an empty answer to all else."""
        if request.url.endswith("/token"):
            return _json({"token_type": "Bearer", "expires_in": 3600, "access_token": "t.t.t"})
        if request.url.endswith("/keys"):
            public = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
            return _json({"keys": [{**public, "kid": "k", "use": "sig"}]})
        if "openid" in request.url:
            return _json({"jwks_uri": f"{LAB}/keys", "skills_host_lab": True})
        return _json({"id": "1"})

    def token(self) -> str:
        """A channel's token for the root."""
        now = int(time.time())
        claims = {
            "iss": "https://api.botframework.com",
            "aud": ROOT,
            "serviceurl": CHANNEL,
            "nbf": now - 60,
            "exp": now + 3600,
        }
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": "k"})


def settings(folder: Path, *, bind: str = "127.0.0.1:9") -> dict[str, Any]:
    """The settings of a root with one skill, whose authority is nowhere."""
    return {
        "host": {"bind": bind, "public_url": f"http://{bind}"},
        "store": {"url": f"sqlite:///{folder}/idle.db"},
        "cloud": {
            "login_url": LAB,
            "entra_metadata": f"{LAB}/entra/openid",
            "channel_metadata": f"{LAB}/channel/openid",
        },
        "bots": {"root": {"kind": "root", "app_id": ROOT, "credential": {"secret": "s"}}},
        "skills": {
            "echo": {
                "endpoint": f"{LAB}/skill",
                "app_id": SKILL,
                "phrases": ["echo"],
            }
        },
    }


def _json(value: Any) -> Response:
    return Response(200, {"content-type": "application/json"}, wire.encode(value))


async def growth(conversations: int) -> float:
    """Bytes that each of so many idle conversations adds, when the first hundreds are there."""
    with tempfile.TemporaryDirectory(prefix="skills-host-idle-") as name:
        outside = Outside()
        app = create_app(from_mapping(settings(Path(name)), {}), world=World(send=outside))
        headers = [
            (b"host", b"127.0.0.1"),
            (b"authorization", f"Bearer {outside.token()}".encode()),
            (b"content-type", b"application/json"),
        ]
        async with app.test_app():
            await _said(app, headers, range(500))
            before = _traced()
            await _said(app, headers, range(500, 500 + conversations))
            return (_traced() - before) / conversations


async def _said(app: Any, headers: list[tuple[bytes, bytes]], numbers: range) -> None:
    for number in numbers:
        body = wire.encode(_activity(number))
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": "/api/messages",
            "raw_path": b"/api/messages",
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 1),
        }
        statuses: list[int] = []

        async def receive(body: bytes = body) -> Mapping[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Mapping[str, Any], statuses: list[int] = statuses) -> None:
            statuses.append(message.get("status", 0))

        await app(scope, receive, send)
        if statuses[0] != 200:
            raise RuntimeError(f"the root answered {statuses[0]}")


def _activity(number: int) -> dict[str, Any]:
    return {
        "type": "message",
        "id": f"a{number}",
        "serviceUrl": CHANNEL,
        "channelId": "directline",
        "from": {"id": f"user-{number}", "role": "user"},
        "conversation": {"id": f"c{number}"},
        "recipient": {"id": "root", "role": "bot"},
        "text": "echo",
    }


def _traced() -> int:
    if not tracemalloc.is_tracing():
        tracemalloc.start()
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


if __name__ == "__main__":
    print(asyncio.run(growth(2000)))
