"""Grants: which skills somebody may be routed to. Pure.

A skill that is not granted is invisible: it is not scored, listed, described to a language model,
or addressable by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from skills_host.activity import Activity
from skills_host.consumer.registry.compile import Skill
from skills_host.routing_settings import Grant

__all__ = ["Asker", "Visible", "asker_of", "is_granted", "visible_to"]

Visible = Callable[[str], bool]
"""True for the name of a skill that somebody may be routed to."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: through which root, in which tenant (lower case) and channel, under which ids."""

    root: str = ""
    tenant: str = ""
    channel: str = ""
    users: frozenset[str] = frozenset()


def asker_of(activity: Activity, *, root: str) -> Asker:
    """Who said this, as its channel tells; nothing of it is the user's to choose."""
    account = activity.from_
    ids = (account.id, account.aad_object_id)
    return Asker(
        root,
        _tenant(activity).lower(),
        activity.channel_id or "",
        frozenset(filter(None, ids)),
    )


def is_granted(skill: Skill, asker: Asker) -> bool:
    """True if one of the skill's grants is for the asker, or it has none: then it is everyone's."""
    return not skill.grants or any(_fits(grant, asker) for grant in skill.grants)


def visible_to(asker: Asker, skills: Mapping[str, Skill]) -> Visible:
    """Which of the skills somebody may be routed to; one that is draining begins nothing."""

    def visible(name: str) -> bool:
        skill = skills.get(name)
        return skill is not None and not skill.draining and is_granted(skill, asker)

    return visible


def _fits(grant: Grant, asker: Asker) -> bool:
    return (
        (not grant.roots or asker.root in grant.roots)
        and (not grant.tenants or asker.tenant in grant.tenants)
        and (not grant.channels or asker.channel in grant.channels)
        and (not grant.users or not asker.users.isdisjoint(grant.users))
    )


def _tenant(activity: Activity) -> str:
    data = activity.get("channelData")
    inside: Any = data.get("tenant") if isinstance(data, dict) else None
    found = activity.conversation.tenant_id or (
        inside.get("id") if isinstance(inside, dict) else None
    )
    return found if isinstance(found, str) else ""
