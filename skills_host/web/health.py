"""`/healthz` (the process runs) and `/readyz` (it can do its work, or why not): no token needed."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from quart import Blueprint, Response

from skills_host.errors import SkillsHostError
from skills_host.web.guard import json_response
from skills_host.wire import encode

__all__ = ["Probe", "health"]

log = logging.getLogger(__name__)

Probe = Callable[[], Awaitable[None]]
"""Raises a `SkillsHostError` if the host cannot do its work for this reason."""

NO_PROBES: Mapping[str, Probe] = MappingProxyType({})


def health(probes: Mapping[str, Probe], aids: Mapping[str, Probe] = NO_PROBES) -> Blueprint:
    """The two addresses; `probes` by the name they are reported under.

    Without what `aids` look at, the host does its work all the same: it is ready, but degraded.
    """
    door = Blueprint("health", __name__)
    told: dict[str, str] = {}

    @door.get("/healthz")
    async def healthz() -> Response:
        return json_response(encode({"status": "ok"}))

    @door.get("/readyz")
    async def readyz() -> Response:
        found = {name: await _probed(probe) for name, probe in probes.items()}
        wrong = {name: failure for name, failure in found.items() if failure is not None}
        lacking = {name: await _probed(aid) for name, aid in aids.items()}
        failures = wrong | {name: failure for name, failure in lacking.items() if failure}
        body: dict[str, object] = {
            "status": "not ready" if wrong else "degraded" if failures else "ok",
            "checks": {
                name: failures[name].code if name in failures else "ok"
                for name in (*found, *lacking)
            },
        }
        _log_changes(told, {name: str(failure) for name, failure in wrong.items()})
        if failures:
            body["why"] = {name: str(failure) for name, failure in failures.items()}
        return json_response(encode(body), 503 if wrong else 200)

    return door


async def _probed(probe: Probe) -> SkillsHostError | None:
    try:
        await probe()
    except SkillsHostError as exc:
        return exc
    return None


def _log_changes(told: dict[str, str], wrong: dict[str, str]) -> None:
    """Log what is wrong once, however often it is asked for, and when it is over."""
    for name in told.keys() - wrong.keys():
        log.warning("ready again: %s", name)
    for name, why in wrong.items():
        if told.get(name) != why:
            log.error("not ready: %s: %s", name, why)
    told.clear()
    told.update(wrong)
