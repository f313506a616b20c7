"""`/manifests/NAME.json`: what the bots of this host say of themselves; no token needed."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from quart import Blueprint, Response, request

from skills_host.errors import SkillsHostError
from skills_host.web.guard import json_response

__all__ = ["manifests"]


def manifests(bodies: Mapping[str, bytes]) -> Blueprint:
    """The door to the manifests by the names of their bots; each is JSON text."""
    door = Blueprint("manifests", __name__)
    tags = {name: sha256(body).hexdigest()[:32] for name, body in bodies.items()}

    @door.get("/manifests/<name>.json")
    async def manifest(name: str) -> Response:
        if name not in bodies:
            raise SkillsHostError(code="not-found")
        known = request.if_none_match.contains_weak(tags[name])
        response = json_response(b"" if known else bodies[name], 304 if known else 200)
        response.set_etag(tags[name])
        # Whoever has it asks whether it is still the same.
        response.headers["Cache-Control"] = "public, no-cache"
        return response

    return door
