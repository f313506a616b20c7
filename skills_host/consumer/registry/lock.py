"""The lock file: which exact revision of each skill a deployment has been reviewed with. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from skills_host.consumer.registry.records import Revision
from skills_host.errors import BadInput, SettingsError
from skills_host.wire import decode_as

__all__ = ["Locked", "drift", "lock_text", "locked_in", "locked_of"]

VERSION = 1


@dataclass(frozen=True, slots=True)
class Locked:
    """One skill of a lock file: `revision` decides, the rest is for those who review it."""

    revision: str
    manifest_sha256: str
    endpoint: str
    app_id: str


@dataclass(frozen=True, slots=True)
class _File:
    version: int
    skills: dict[str, Locked]


def locked_of(revision: Revision) -> Locked:
    """What a lock file says of a revision that runs."""
    binding = revision.binding
    url, app_id = ("", "") if binding is None else (binding.url, binding.app_id)
    return Locked(revision.digest, revision.sha256, url, app_id)


def lock_text(running: Mapping[str, Locked]) -> str:
    """The lock file of what runs; the same skills give the same bytes."""
    skills = {name: asdict(running[name]) for name in sorted(running)}
    return json.dumps({"version": VERSION, "skills": skills}, indent=2) + "\n"


def locked_in(raw: bytes, *, source: str) -> dict[str, Locked]:
    """The skills of a lock file. Raises `SettingsError` naming `source`."""
    try:
        found = decode_as(raw, _File)
    except BadInput:
        raise SettingsError(f"{source}: not a lock file of skills") from None
    if found.version != VERSION:
        raise SettingsError(f"{source}: version {found.version} is not known here")
    return found.skills


def drift(locked: Mapping[str, Locked], running: Mapping[str, str]) -> list[str]:
    """What differs, a line for each skill; `running` gives the digest of what runs by name."""
    lines = []
    for name in sorted({*locked, *running}):
        wanted, found = locked.get(name), running.get(name)
        if wanted is None:
            lines.append(f"{name} is not in the lock file")
        elif found is None:
            lines.append(f"{name} is in the lock file and does not run")
        elif found != wanted.revision:
            lines.append(f"{name} runs {found[:12]}, not {wanted.revision[:12]} as locked")
    return lines
