"""`/manifests/NAME.json`: what the bots of this host say of themselves, with the language files
beside it; no token needed."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from quart import Blueprint, Response, request

from skills_host.errors import SkillsHostError

__all__ = ["manifests"]

_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"


def manifests(bodies: Mapping[str, bytes]) -> Blueprint:
    """The door to these files by their names, and to nothing else: JSON, or plain text.

    No name leads to a disk: what is served was read before.
    """
    door = Blueprint("manifests", __name__)
    tags = {name: sha256(body).hexdigest()[:32] for name, body in bodies.items()}

    @door.get("/manifests/<name>")
    async def manifest(name: str) -> Response:
        if name not in bodies:
            raise SkillsHostError(code="not-found")
        known = request.if_none_match.contains_weak(tags[name])
        body, status = (b"", 304) if known else (bodies[name], 200)
        response = Response(body, status, content_type=_JSON if name.endswith(".json") else _TEXT)
        response.set_etag(tags[name])
        # Whoever has it asks whether it is still the same.
        response.headers["Cache-Control"] = "public, no-cache"
        return response

    return door
