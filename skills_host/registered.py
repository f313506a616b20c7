"""The skills of a host: its registry, what runs of it now, and what is done about the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from skills_host.configured import bytes_at, configured_skills, languages_at, trusts_lab
from skills_host.consumer.manifest.fetch import Fetcher
from skills_host.consumer.manifest.lu import text_examples, utterances
from skills_host.consumer.manifest.model import Endpoint
from skills_host.consumer.manifest.readers import read, read_manifest
from skills_host.consumer.registry.catalogue import Catalogue
from skills_host.consumer.registry.compile import Skill, skill_of, snapshot_of
from skills_host.consumer.registry.intake import (
    Read,
    Submission,
    registered_settings,
    settings_submission,
)
from skills_host.consumer.registry.inventory import take_in
from skills_host.consumer.registry.languages import languages_beside
from skills_host.consumer.registry.ledger import Ledger
from skills_host.consumer.registry.live import LiveCatalogue
from skills_host.consumer.registry.lock import Locked, drift, locked_in
from skills_host.consumer.registry.records import Origin, Revision, SkillRecord, language_texts
from skills_host.consumer.registry.refresh import Published
from skills_host.consumer.registry.registry import Registry
from skills_host.consumer.routing.examples import SAMPLED
from skills_host.consumer.routing.known import KnownSkills
from skills_host.consumer.routing.overlaps import Overlap, overlaps
from skills_host.consumer.routing.patterns import check_patterns
from skills_host.consumer.withdrawal import Withdrawals
from skills_host.errors import RegistryRefused, SettingsError
from skills_host.registry_settings import SkillsFrom
from skills_host.settings import Settings, SkillSettings
from skills_host.store.coordination import Coordination
from skills_host.store.records import Store

__all__ = [
    "RegisteredSkills",
    "overlapping",
    "published",
    "registry_of",
    "submission_at",
    "submissions",
    "usable_skills",
]

TOPIC = "registry"


class RegisteredSkills:
    """The registry in a host's store, and the catalogue that its roots go by.

    A host without roots has none of it. Raises `SettingsError` for skills of the settings that
    cannot be.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        coordination: Coordination,
        *,
        now: Callable[[], float],
        lab: bool,
    ) -> None:
        snapshot_of(settings, configured_skills(settings))
        self._sent = submissions(settings)
        self._now = now
        self._fallback = settings.routing.fallback
        self._has_roots = any(bot.kind == "root" for bot in settings.bots.values())
        self._locked = _locked(settings)
        self._live = LiveCatalogue(Ledger(store, now=now), settings, locked=self._locked)
        self._withdrawals = Withdrawals(store, self._live, now=now)
        self._coordination = coordination
        self.known = KnownSkills(self.skills, settings.routing)
        self.registry = registry_of(settings, store, now=now, lab=lab, changed=self._tell)

    @property
    def now(self) -> Catalogue:
        """What the host goes by at this moment."""
        return self._live.now

    def skills(self) -> Mapping[str, Skill]:
        """The skills that may be used at this moment, by name."""
        return self._live.now.skills

    async def load(self) -> None:
        """Take in the skills of the settings, and read what the registry says of all.

        Raises `SettingsError` (`lock-drift`) where that is not what the lock file says.
        """
        if self._has_roots:
            await take_in(self.registry.ledger, self._sent, now=self._now)
            await self._check_lock()
            await self._live.load()
            for name, skill in self.skills().items():
                check_patterns(name, skill.patterns)
            await self._check_fallback()

    async def run(self) -> None:
        """Take up what changes, until cancelled."""
        if not self._has_roots:
            return
        stop = self._coordination.listen(TOPIC, self._live.wake)
        try:
            await self._live.run()
        finally:
            stop()
            await self.known.close()

    async def withdraw(self) -> None:
        """End conversations of skills that may not be used any more; a round of the host.

        What is new is taken up for routing too, before the next message needs it.
        """
        if self._has_roots:
            await self._withdrawals.look()
            await self.known.look()

    async def _check_lock(self) -> None:
        if self._locked is not None:
            lines = drift(self._locked, await self.registry.running())
            if lines:
                raise SettingsError("; ".join(lines[:5]), code="lock-drift")

    async def _check_fallback(self) -> None:
        """One that waits for its approval, or is out of use for now, may be named."""
        name = self._fallback
        if name and name not in self.skills() and not await self.registry.ledger.some([name]):
            raise SettingsError(f"routing.fallback: there is no skill {name!r}")

    def _tell(self) -> None:
        self._live.wake()
        self._coordination.wake(TOPIC)


@asynccontextmanager
async def published(
    registry: Registry, settings: Settings, *, now: Callable[[], float]
) -> AsyncIterator[Published]:
    """What fetches manifests for a registry, by the same rules for where skills may be."""
    policy, lab = settings.registry, trusts_lab(settings, configured_skills(settings))
    fetcher = Fetcher(dev=lab, networks=policy.networks)
    try:
        yield Published(registry, fetcher, policy=policy, now=now, read=_reading(settings, lab=lab))
    finally:
        await fetcher.close()


def submission_at(
    path: Path, settings: Settings, *, registration: Mapping[str, Any], endpoint: str = ""
) -> Submission:
    """A manifest in a file as it is sent in, with the language files beside it.

    Raises `OSError` for a file that cannot be read, `RegistryRefused` for too many.
    """
    sent = Submission(path.read_bytes(), registration=registration, endpoint=endpoint)
    lab = trusts_lab(settings, configured_skills(settings))
    manifest = _reading(settings, lab=lab)(sent.raw).manifest
    if manifest is None:
        return sent
    languages, notes = languages_beside(manifest, path)
    return replace(sent, languages=languages, notes=notes)


def _reading(settings: Settings, *, lab: bool) -> Read:
    """What reads manifests; in a lab, skills may be on this machine."""
    return partial(read, dev=lab, networks=settings.registry.networks)


def submissions(settings: Settings) -> dict[str, Submission]:
    """The skills in the settings as they are sent in to the registry. Raises `SettingsError`."""
    if settings.host.skills is SkillsFrom.REGISTRY:
        return {}
    return {name: _submission(name, given) for name, given in settings.skills.items()}


async def usable_skills(settings: Settings, registry: Registry) -> dict[str, Skill]:
    """The skills that a host would use if it started now with these settings; nothing is written.

    What is in the settings counts as it stands there, unless an operator keeps it from use.
    """
    live = LiveCatalogue(registry.ledger, settings, locked=_locked(settings))
    await live.load()
    skills = dict(live.now.skills)
    known = {record.name: record async for record in registry.ledger.every_skill()}
    for name, made in _set_skills(settings).items():
        record, before = known.get(name), skills.get(name)
        if record is None:
            skills[name] = made
        elif before is not None and record.origin is Origin.CONFIGURATION:
            skills[name] = replace(
                made, grants=before.grants, draining=before.draining, languages=before.languages
            )
    return skills


async def overlapping(
    settings: Settings, registry: Registry, record: SkillRecord, revision: Revision
) -> tuple[Overlap, ...]:
    """What of a skill's phrases and examples would go to others, if this revision of it ran."""
    if revision.binding is None:
        return ()
    binding, is_configured = revision.binding, record.origin is Origin.CONFIGURATION
    endpoint = Endpoint(binding.endpoint, binding.url, binding.app_id)
    given = registered_settings(revision.registration, endpoint, configured=is_configured)
    made = skill_of(record.name, given, revision.manifest, strict=not is_configured)
    made = replace(made, languages=await registry.ledger.languages(revision))
    skills = {**await usable_skills(settings, registry), record.name: made}
    return overlaps(skills, policy=settings.routing.examples, of=[record.name])


def _set_skills(settings: Settings) -> dict[str, Skill]:
    """The skills in the settings, with the examples of their files."""
    given = {name: with_examples(one) for name, one in settings.skills.items()}
    return configured_skills(settings.model_copy(update={"skills": given}))


def registry_of(
    settings: Settings,
    store: Store,
    *,
    now: Callable[[], float],
    lab: bool,
    changed: Callable[[], object] = lambda: None,
) -> Registry:
    """The registry of a host with these settings, in its store.

    In a lab, skills may be on this machine.
    """
    return Registry(
        store,
        now=now,
        own_app_ids=frozenset(bot.app_id for bot in settings.bots.values()),
        four_eyes=settings.registry.four_eyes,
        changed=changed,
        read=_reading(settings, lab=lab),
        check=_with_patterns,
    )


def _with_patterns(revision: Revision) -> Revision:
    """A revision whose patterns can all be used. Raises `RegistryRefused`."""
    if revision.binding is not None:
        try:
            check_patterns(revision.skill, revision.registration.get("patterns", ()))
        except SettingsError as exc:
            raise RegistryRefused(str(exc), code="bad-registration") from None
    return revision


def with_examples(given: SkillSettings) -> SkillSettings:
    """Settings with the examples of the files that they and their manifest name.

    Of a manifest's language files, those beside it are read; a manifest may name files that only
    its publisher has. Raises `SettingsError`.
    """
    found = {locale: tuple(texts) for locale, texts in given.examples.items()}
    for path in given.example_files:
        read = utterances if path.endswith(".lu") else text_examples
        found[""] = (*found.get("", ()), *read(bytes_at(path)))
    if given.manifest is not None:
        for locale, texts in _beside(given.manifest).items():
            found[locale] = (*found.get(locale, ()), *texts)
    return given.model_copy(update={"examples": found, "example_files": ()})


def _beside(path: str) -> dict[str, list[str]]:
    """The utterances of the language files beside a manifest, by locale."""
    manifest = read_manifest(bytes_at(path), source=path)
    found: dict[str, list[str]] = {}
    for locale, texts in language_texts(languages_at(manifest, path)).items():
        for text in texts:
            said = text.utterances(intents=manifest.intents)
            step = max(1.0, len(said) / SAMPLED)
            sampled = (said[int(index * step)] for index in range(min(len(said), SAMPLED)))
            found.setdefault(locale, []).extend(sampled)
    return found


def _submission(name: str, given: SkillSettings) -> Submission:
    given = with_examples(given)
    if given.manifest is None:
        return settings_submission(name, given)
    raw = bytes_at(given.manifest)
    return settings_submission(name, given, raw, read_manifest(raw, source=given.manifest))


def _locked(settings: Settings) -> dict[str, Locked] | None:
    path = settings.host.skills_lock
    return locked_in(bytes_at(path), source=path) if path else None
