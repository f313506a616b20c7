"""From configuration and manifests to the skills that a root may call, and to the snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from skills_host.auth.allowlist import AllowedSkill, Snapshot
from skills_host.consumer.manifest.model import Manifest
from skills_host.errors import SettingsError
from skills_host.routing_settings import ContextPart, Grant, Help, Interruption, SkillRouting
from skills_host.settings import (
    Delivery,
    Operation,
    Policy,
    Retry,
    Settings,
    SkillSettings,
    SkillTexts,
)
from skills_host.transport import is_loopback

__all__ = ["Skill", "is_loopback_only", "skills_of", "snapshot_of"]


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill as a root knows it.

    `seconds` is its own deadline, `idle_seconds` and `total_seconds` how long it may stay silent
    and have the floor; None for the host's. From `aliases` on, it is as in `SkillRouting`.
    """

    name: str
    title: str
    app_id: str
    endpoint: str
    description: str = ""
    phrases: tuple[str, ...] = ()
    texts: SkillTexts = SkillTexts()
    tenants: frozenset[str] = frozenset()
    delivery: Delivery = Delivery.NORMAL
    invoke_delivery: Delivery = Delivery.EXPECT_REPLIES
    seconds: float | None = None
    idle_seconds: float | None = None
    total_seconds: float | None = None
    retry: Retry = Retry.NEVER
    operations: Mapping[Operation, Policy] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    example_files: tuple[str, ...] = ()
    interruption: Interruption = Interruption.NEVER
    help: Help = Help.SKILL
    max_turns: int | None = None
    context: tuple[ContextPart, ...] = ()
    grants: tuple[Grant, ...] = ()
    accepts: tuple[str, ...] | None = None
    fan_out: bool = False


def skills_of(settings: Settings, read: Callable[[str], Manifest]) -> dict[str, Skill]:
    """The configured skills by name; `read` gives the manifest that a setting names."""
    return {name: _skill(name, given, read) for name, given in settings.skills.items()}


def snapshot_of(settings: Settings, skills: Mapping[str, Skill], *, epoch: int = 1) -> Snapshot:
    """Who may, in both directions: skills of this host's roots, and callers of each bot."""
    own = {bot.app_id for bot in settings.bots.values()}
    for skill in skills.values():
        if skill.app_id in own:
            raise SettingsError(f"skills.{skill.name}: the app id is one of this host's own bots")
    allowed = {
        skill.name: AllowedSkill(skill.name, skill.app_id, skill.endpoint, skill.tenants)
        for skill in skills.values()
    }
    callers = {bot.app_id: frozenset(bot.allowed_callers) for bot in settings.bots.values()}
    return Snapshot(epoch=epoch, skills=allowed, callers=callers)


def is_loopback_only(settings: Settings, skills: Mapping[str, Skill]) -> bool:
    """True if bind address, public URL and every skill's endpoint are loopback."""
    urls = [settings.host.public_url, *(skill.endpoint for skill in skills.values())]
    hosts = [settings.host.bind_host, *(urlsplit(url).hostname or "" for url in urls)]
    return all(map(is_loopback, hosts))


def _skill(name: str, given: SkillSettings, read: Callable[[str], Manifest]) -> Skill:
    title, description = given.title, given.description
    endpoint, app_id = given.endpoint, given.app_id
    if given.manifest is not None:
        manifest = read(given.manifest)
        endpoint, app_id = manifest.endpoints[0].url, manifest.endpoints[0].app_id
        title, description = title or manifest.name, description or manifest.description
    if endpoint is None or app_id is None:
        raise SettingsError(f"skills.{name}: neither manifest nor endpoint and app_id")
    return Skill(
        name=name,
        title=title or name,
        app_id=app_id,
        endpoint=endpoint,
        description=description or "",
        texts=given.texts,
        tenants=frozenset(given.tenants),
        delivery=given.delivery,
        invoke_delivery=given.invoke_delivery,
        operations=given.operations,
        seconds=given.seconds,
        idle_seconds=given.idle_seconds,
        total_seconds=given.total_seconds,
        retry=given.retry,
        **{name: getattr(given, name) for name in SkillRouting.model_fields},
    )
