"""`/healthz` (the process runs) and `/readyz` (it can do its work): no details, no token needed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from quart import Blueprint, Response

from skills_host.errors import SkillsHostError
from skills_host.web.guard import json_response
from skills_host.wire import encode

__all__ = ["Probe", "health"]

Probe = Callable[[], Awaitable[None]]
"""Raises a `SkillsHostError` if the host cannot do its work for this reason."""


def health(probes: Mapping[str, Probe]) -> Blueprint:
    """The two addresses; `probes` by the name they are reported under."""
    door = Blueprint("health", __name__)

    @door.get("/healthz")
    async def healthz() -> Response:
        return json_response(encode({"status": "ok"}))

    @door.get("/readyz")
    async def readyz() -> Response:
        found = {name: await _probed(probe) for name, probe in probes.items()}
        ready = all(state == "ok" for state in found.values())
        body = {"status": "ok" if ready else "not ready", "checks": found}
        return json_response(encode(body), 200 if ready else 503)

    return door


async def _probed(probe: Probe) -> str:
    try:
        await probe()
        return "ok"
    except SkillsHostError as exc:
        return exc.code
