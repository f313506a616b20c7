"""From configuration and manifests to the skills that a root may call, and to the snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from skills_host.auth.allowlist import AllowedSkill, Snapshot
from skills_host.consumer.manifest.contract import Contract, contract_of
from skills_host.consumer.manifest.lu import LanguageText
from skills_host.consumer.manifest.model import Declared, Manifest
from skills_host.errors import SettingsError
from skills_host.routing_settings import (
    Checks,
    ContextPart,
    Grant,
    Help,
    Interruption,
    SkillRouting,
)
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

__all__ = [
    "Skill",
    "allowed_of",
    "callers_of",
    "is_loopback_only",
    "skill_of",
    "skills_of",
    "snapshot_of",
]


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill as a root knows it.

    `seconds` is its own deadline, `idle_seconds` and `total_seconds` how long it may stay silent
    and have the floor; None for the host's. From `aliases` on, it is as in `SkillRouting`. `sends`
    is what it may send beside messages, None for anything. One that is `draining` begins nothing.
    `languages` are the texts of its language-understanding files (.lu) by locale.
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
    suspend: bool = False
    schemas: Checks = Checks.WARN
    sends: tuple[str, ...] | None = None
    draining: bool = False
    languages: Mapping[str, tuple[LanguageText, ...]] = field(default_factory=dict, repr=False)
    manifest: Manifest | None = field(default=None, repr=False, compare=False)
    contract: Contract | None = field(default=None, repr=False, compare=False)


def skills_of(settings: Settings, read: Callable[[str], Manifest]) -> dict[str, Skill]:
    """The configured skills by name; `read` gives the manifest that a setting names."""
    return {
        name: skill_of(name, given, read(given.manifest) if given.manifest else None)
        for name, given in settings.skills.items()
    }


def snapshot_of(settings: Settings, skills: Mapping[str, Skill]) -> Snapshot:
    """Who may, in both directions: skills of this host's roots, and callers of each bot."""
    own = {bot.app_id for bot in settings.bots.values()}
    for skill in skills.values():
        if skill.app_id in own:
            raise SettingsError(f"skills.{skill.name}: the app id is one of this host's own bots")
    allowed = {skill.name: allowed_of(skill) for skill in skills.values()}
    return Snapshot(epoch=1, skills=allowed, callers=callers_of(settings))


def allowed_of(skill: Skill) -> AllowedSkill:
    """A skill as it stands in the list of those that may call back."""
    return AllowedSkill(skill.name, skill.app_id, skill.endpoint, skill.tenants)


def callers_of(settings: Settings) -> dict[str, frozenset[str]]:
    """Who may call each bot of the settings, by its app id."""
    return {bot.app_id: frozenset(bot.allowed_callers) for bot in settings.bots.values()}


def is_loopback_only(settings: Settings, skills: Mapping[str, Skill]) -> bool:
    """True if bind address, public URL and every skill's endpoint are loopback."""
    urls = [settings.host.public_url, *(skill.endpoint for skill in skills.values())]
    hosts = [settings.host.bind_host, *(urlsplit(url).hostname or "" for url in urls)]
    return all(map(is_loopback, hosts))


def skill_of(
    name: str, given: SkillSettings, manifest: Manifest | None, *, strict: bool = False
) -> Skill:
    """A skill from what is registered with it, and from its manifest if it has one.

    With `strict` it is held to what the manifest declares, unless it is registered as lenient.
    """
    title, description = given.title, given.description
    endpoint, app_id = given.endpoint, given.app_id
    if manifest is not None:
        endpoint, app_id = endpoint or manifest.endpoints[0].url, app_id or _first_app_id(manifest)
        title, description = title or manifest.name, description or manifest.description
    if endpoint is None or app_id is None:
        raise SettingsError(f"skills.{name}: neither manifest nor endpoint and app_id")
    routing = {member: getattr(given, member) for member in SkillRouting.model_fields}
    held = manifest if strict and not given.lenient or given.lenient is False else None
    if held is not None and given.accepts is None:
        routing["accepts"] = _declared(held.activities)
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
        sends=_sends(given, held),
        manifest=manifest,
        contract=None if given.schemas is Checks.OFF else contract_of(manifest),
        **routing,
    )


def _sends(given: SkillSettings, manifest: Manifest | None) -> tuple[str, ...] | None:
    """What a skill may send; the manifests of older generations have no member that says so."""
    if given.sends is None and manifest is not None and manifest.sends:
        return _declared(manifest.sends)
    return given.sends


def _declared(activities: Mapping[str, Declared]) -> tuple[str, ...]:
    return tuple(f"{one.type}/{one.name}" if one.name else one.type for one in activities.values())


def _first_app_id(manifest: Manifest) -> str:
    return manifest.endpoints[0].app_id
