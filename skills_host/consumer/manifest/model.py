"""A skill manifest as this host understands it, whatever generation it was written in."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Endpoint", "Manifest"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a skill listens, and under which app id; the app id is a canonical UUID."""

    name: str
    url: str
    app_id: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a skill says of itself; at least one endpoint."""

    id: str
    name: str
    version: str
    description: str
    publisher: str
    endpoints: tuple[Endpoint, ...]
