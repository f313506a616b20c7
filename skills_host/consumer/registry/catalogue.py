"""What a host goes by at one moment: the skills that may be used, and who may call. Pure.

It is made from the registry's records, never changed, and replaced whole.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType

from skills_host.auth.allowlist import AllowedSkill, Snapshot
from skills_host.consumer.manifest.lu import LanguageText
from skills_host.consumer.manifest.model import Endpoint
from skills_host.consumer.registry.compile import Skill, allowed_of, callers_of, skill_of
from skills_host.consumer.registry.intake import registered_settings
from skills_host.consumer.registry.lifecycle import Standing, standing_of
from skills_host.consumer.registry.lock import Locked
from skills_host.consumer.registry.records import Origin, Revision, SkillRecord, Trust
from skills_host.errors import RegistryRefused
from skills_host.routing_settings import Grant
from skills_host.settings import Settings

__all__ = ["Catalogue", "Compiled", "catalogue_of", "compiled", "wanted_revision"]

log = logging.getLogger(__name__)

_BARRED = MappingProxyType(
    {Standing.SUSPENDED: "skill-suspended", Standing.REVOKED: "skill-revoked"}
)


@dataclass(frozen=True, slots=True)
class Compiled:
    """One skill of the registry as it was compiled; `barred` is why it may not be used, if so."""

    version: int
    revision: str
    skill: Skill
    allowed: AllowedSkill
    barred: str = ""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The skills at one epoch: those that may be used, and those that may not any more.

    `barred` are kept so that they can be told of the end of their conversations.
    """

    epoch: int
    snapshot: Snapshot
    skills: Mapping[str, Skill]
    barred: Mapping[str, Compiled] = field(default_factory=dict)


def wanted_revision(record: SkillRecord) -> str:
    """The digest of the revision that a skill is known by: what runs, or what ran last."""
    if record.active:
        return record.active
    ran = [one for one in record.revisions if one.approval and one.trust is Trust.REVOKED]
    return max(ran, key=lambda one: one.approval.at if one.approval else 0).digest if ran else ""


def compiled(
    record: SkillRecord, revision: Revision, languages: Mapping[str, tuple[LanguageText, ...]]
) -> Compiled | None:
    """A skill with its approved revision; None for one that the host need not know.

    `languages` are the texts of its language files by locale.

    One that cannot be made from what was approved does not run, and is logged.
    """
    standing = standing_of(record)
    if standing is Standing.UNKNOWN or revision.binding is None:
        return None
    binding = revision.binding
    endpoint = Endpoint(binding.endpoint, binding.url, binding.app_id)
    try:
        given = registered_settings(
            revision.registration, endpoint, configured=record.origin is Origin.CONFIGURATION
        )
    except RegistryRefused as exc:
        log.error("skill %s does not run, for its registration is not sound: %s", record.name, exc)
        return None
    skill = skill_of(record.name, given, revision.manifest, strict=record.origin is Origin.REGISTRY)
    grants = tuple(Grant.model_validate(asdict(grant)) for grant in record.grants)
    skill = replace(
        skill,
        grants=grants,
        draining=standing is Standing.DRAINING,
        languages=languages,
    )
    barred = _BARRED.get(standing, "")
    return Compiled(record.version, revision.digest, skill, allowed_of(skill), barred)


def catalogue_of(
    settings: Settings,
    found: Mapping[str, Compiled],
    *,
    epoch: int,
    locked: Mapping[str, Locked] | None = None,
) -> Catalogue:
    """What a host with these settings goes by, from all its skills as they are compiled.

    Those that the settings name come first, as they are written. Where there is a lock file, only
    what it names runs.
    """
    own = {bot.app_id for bot in settings.bots.values()}
    skills: dict[str, Skill] = {}
    allowed: dict[str, AllowedSkill] = {}
    barred: dict[str, Compiled] = {}
    for name in _in_order(settings, found):
        one = found[name]
        if one.skill.app_id in own:
            log.error("skill %s does not run: its app id is that of a bot of this host", name)
        elif locked is not None and not _is_locked(one, locked.get(name)):
            log.error("skill %s does not run: its revision is not that of the lock file", name)
        elif one.barred:
            barred[name] = one
        else:
            skills[name], allowed[name] = one.skill, one.allowed
    codes = {one.skill.app_id: one.barred for one in barred.values()}
    snapshot = Snapshot(epoch=epoch, skills=allowed, callers=callers_of(settings), barred=codes)
    return Catalogue(epoch, snapshot, MappingProxyType(skills), MappingProxyType(barred))


def _in_order(settings: Settings, found: Mapping[str, Compiled]) -> list[str]:
    first = [name for name in settings.skills if name in found]
    return first + sorted(found.keys() - settings.skills.keys())


def _is_locked(one: Compiled, locked: Locked | None) -> bool:
    return locked is not None and locked.revision == one.revision
