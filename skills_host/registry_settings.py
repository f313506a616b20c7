"""What settings say about the registry of skills."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from pydantic import Field

from skills_host.clouds import Model

__all__ = ["RegistrySettings", "SkillsFrom"]


class SkillsFrom(StrEnum):
    """Where a host's skills come from: settings and registry, or the registry alone."""

    ALL = "all"
    REGISTRY = "registry"


class RegistrySettings(Model):
    """`[registry]`: how skills are registered and approved.

    With `four_eyes` nobody approves what they sent in. Endpoints may be in `networks` beside public
    ones. `check_seconds` is how often each process looks whether anything has changed.
    A refresh approves by itself what differs only as `auto_approve` lists (`bytes`, `descriptive`),
    and with `quarantine_drift` a change that matters for security quarantines the skill.
    """

    four_eyes: bool = False
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    check_seconds: Annotated[float, Field(gt=0, le=5)] = 0.5
    auto_approve: tuple[Annotated[str, Field(pattern="^(bytes|descriptive)$")], ...] = ()
    quarantine_drift: bool = False
