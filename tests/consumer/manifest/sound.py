"""A sound manifest of the newest generation, and others that differ from it."""

from __future__ import annotations

import json
from typing import Any

from skills_host.consumer.manifest.model import Profile, Reading
from skills_host.consumer.manifest.readers import read

__all__ = ["APP_ID", "ENDPOINT", "MANIFEST", "codes", "data_of", "schema_url", "with_endpoint"]

APP_ID = "a0000000-0000-4000-8000-000000000001"
ENDPOINT = {
    "name": "default",
    "protocol": "BotFrameworkV3",
    "endpointUrl": "https://skill.example/api/messages",
    "msAppId": APP_ID.upper(),
}


def schema_url(name: str = "v2.2/skill-manifest.json") -> str:
    """A published address of a schema."""
    return f"https://schemas.botframework.com/schemas/skills/{name}"


MANIFEST = {
    "$schema": schema_url(),
    "$id": "echo",
    "name": "Echo",
    "version": "1.0",
    "publisherName": "Us",
    "description": "Repeats",
    "endpoints": [ENDPOINT],
    "activities": {"message": {"type": "message", "description": "Anything"}},
}


def data_of(**changes: Any) -> bytes:
    """A manifest with members changed; None removes one, a leading underscore stands for `$`."""
    named = {
        f"${name[1:]}" if name.startswith("_") else name: value for name, value in changes.items()
    }
    found = {k: v for k, v in (MANIFEST | named).items() if v is not None}
    return json.dumps(found, ensure_ascii=False).encode()


def with_endpoint(**changes: Any) -> bytes:
    """A manifest whose only endpoint differs."""
    endpoint = {k: v for k, v in (ENDPOINT | changes).items() if v is not None}
    return data_of(endpoints=[endpoint])


def codes(data: bytes, profile: Profile = Profile.COMPAT, **more: Any) -> list[str]:
    """What is said about a manifest, as sorted codes; hints are left out."""
    reading: Reading = read(data, profile=profile, **more)
    return sorted({f.code for f in reading.findings if f.severity != "info"})
