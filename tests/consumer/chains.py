"""Roots that are skills of other roots: user → root → middle → … → skill."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from skills_host import Bot, Root
from tests.world import IDS, ROOT, SKILLS, Town, bot_settings

__all__ = ["ADDRESSES", "start_chain", "start_link"]

ADDRESSES = {"root": ROOT, **SKILLS, "stranger": "http://127.0.0.1:9005"}
"""Where each bot of the town may live."""


async def start_link(
    town: Town,
    name: str,
    bot: Bot,
    *,
    callers: tuple[str, ...] = (),
    skills: tuple[str, ...] = (),
    settings: Mapping[str, Any] = MappingProxyType({}),
    host: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Start one bot of a chain: who may call it, and which skills it has if it is a root."""
    kind = "root" if isinstance(bot, Root) else "skill"
    allowed = [IDS[caller] for caller in callers]
    tables = {
        skill: {
            "endpoint": f"{ADDRESSES[skill]}/api/messages",
            "app_id": IDS[skill],
            "phrases": ["go"],
            **settings,
        }
        for skill in skills
    }
    bots = {name: bot_settings(kind, name, allowed_callers=allowed)}
    toml = {"host": host, "bots": bots, "skills": tables}
    await town.start(ADDRESSES[name], name, toml, {name: bot})


async def start_chain(
    town: Town, *bots: tuple[str, Bot], settings: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Start a chain from the root down; “go” leads all the way. `settings` of every skill."""
    names = [name for name, _ in bots]
    callers = [(), *((name,) for name in names)]
    skills = [*((name,) for name in names[1:]), ()]
    for (name, bot), caller, skill in zip(bots, callers, skills, strict=False):
        await start_link(town, name, bot, callers=caller, skills=skill, settings=settings)
