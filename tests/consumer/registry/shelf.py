"""A registry on a store of its own, and what is sent in to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from skills_host.consumer.manifest.readers import read
from skills_host.consumer.registry.intake import Read, Submission
from skills_host.consumer.registry.records import Actor, Order
from skills_host.consumer.registry.registry import Registry
from skills_host.store.records import Store

OWN = "a0000000-0000-4000-8000-000000000001"
ECHO = "b0000000-0000-4000-8000-000000000001"
OTHER = "b0000000-0000-4000-8000-000000000002"
AUTHOR = Order(Actor("author"))
APPROVER = Order(Actor("approver"))


def manifest(name: str = "echo", **changes: Any) -> dict[str, Any]:
    """A manifest as its author would write it."""
    given: dict[str, Any] = {
        "$schema": "https://schemas.botframework.com/schemas/skills/v2.2/skill-manifest.json",
        "$id": name,
        "name": name.title(),
        "version": "1.0",
        "publisherName": "us",
        "description": "Repeats what you say",
        "endpoints": [
            {
                "name": "default",
                "protocol": "BotFrameworkV3",
                "endpointUrl": f"https://{name}.example/api/messages",
                "msAppId": ECHO,
            }
        ],
    }
    return given | changes


def endpoint(**changes: Any) -> list[dict[str, Any]]:
    """The endpoints of a manifest with one that differs."""
    return [manifest()["endpoints"][0] | changes]


def submission(
    given: Mapping[str, Any] | None = None,
    *,
    source: str = "https://echo.example/manifest.json",
    **registration: Any,
) -> Submission:
    """A manifest as it is sent in, with a registration document beside it."""
    raw = json.dumps(dict(given or manifest())).encode()
    return Submission(raw, source, registration)


def registry_on(store: Store, *, four_eyes: bool = False, read: Read = read) -> Registry:
    """A registry at a time that stands still."""
    return Registry(
        store, now=lambda: 1000.0, own_app_ids=frozenset({OWN}), four_eyes=four_eyes, read=read
    )


async def approved(registry: Registry, name: str = "echo", **changes: Any) -> str:
    """A skill that runs; the digest of its revision."""
    found = await registry.add(
        name, submission(manifest(name, **changes)), order=AUTHOR, submit=True
    )
    await registry.approve(name, order=APPROVER, waivers=("origin", "app-id"))  # type: ignore[arg-type]
    return found.revision.digest
