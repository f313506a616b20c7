"""Manifests from where they are published: sent in from there, and looked at again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from skills_host.consumer.manifest.fetch import Fetched, Fetcher
from skills_host.consumer.manifest.readers import read
from skills_host.consumer.registry.changes import ChangeClass
from skills_host.consumer.registry.intake import Read, Submission
from skills_host.consumer.registry.languages import fetched_languages
from skills_host.consumer.registry.records import (
    Actor,
    Order,
    Revision,
    SkillRecord,
    Trust,
    Waiver,
)
from skills_host.consumer.registry.registry import Registry
from skills_host.errors import RegistryRefused, TransportFailed
from skills_host.registry_settings import RegistrySettings

__all__ = ["Published", "Refreshed", "is_address"]

POLICY = Actor("policy")


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What came of a look at a skill's source: the skill, how it has changed, or a note why not."""

    skill: SkillRecord
    change: ChangeClass | None = None
    note: str = ""


def is_address(source: str) -> bool:
    """True for a source that can be fetched again."""
    return urlsplit(source).scheme in ("http", "https")


class Published:
    """Fetches manifests and the language files that they name, and never trusts what it gets."""

    def __init__(
        self,
        registry: Registry,
        fetcher: Fetcher,
        *,
        policy: RegistrySettings,
        now: Callable[[], float],
        read: Read = read,
    ) -> None:
        self._registry = registry
        self._fetcher = fetcher
        self._policy = policy
        self._now = now
        self._read = read

    async def submission(
        self, url: str, *, registration: Mapping[str, Any] | None = None, endpoint: str = ""
    ) -> Submission:
        """What is published at an address, with its language files. Raises `TransportFailed`."""
        found = await self._fetcher.manifest(url)
        if found is None:
            raise TransportFailed(code="bad-status")
        return await self._submission(url, found, dict(registration or {}), endpoint)

    async def refresh(self, name: str, *, order: Order) -> Refreshed:
        """Look whether a skill's manifest has changed; what runs stays as it is until approved.

        A source that is gone is a note on the skill's health and nothing else. What the policy
        lets pass is approved by it, and a change that matters for security may quarantine.
        """
        record = await self._registry.ledger.skill(name)
        if not is_address(record.source):
            raise RegistryRefused(f"{name}: its manifest was not fetched from an address")
        last = await self._registry.ledger.revision(name, record.revisions[-1].digest)
        try:
            found = await self._fetcher.manifest(record.source, etag=last.etag)
            sent = found and await self._sent_again(record, last, found)
        except TransportFailed as exc:
            await self._note(name, f"{exc.code}: {exc}")
            return Refreshed(record, note=str(exc))
        await self._note(name, "")
        if not sent:
            return Refreshed(record)
        came = await self._registry.revise(name, sent, order=order, submit=True)
        if came.skill == record or not came.revision.is_valid:
            return Refreshed(came.skill, came.change)
        return Refreshed(await self._judged(came.skill, came.revision, came.change), came.change)

    async def _sent_again(
        self, record: SkillRecord, last: Revision, found: Fetched
    ) -> Submission | None:
        endpoint = "" if last.binding is None else last.binding.endpoint
        sent = await self._submission(record.source, found, dict(last.registration), endpoint)
        files = tuple(file for file, _ in sent.languages)
        return None if (sent.sha256, files) == (last.sha256, last.languages) else sent

    async def _judged(
        self, record: SkillRecord, revision: Revision, change: ChangeClass | None
    ) -> SkillRecord:
        """What the policy does about a revision that has come from its source."""
        order = Order(POLICY, f"refreshed: {change}")
        state = record.state(revision.digest)
        if state is None or state.trust is not Trust.PENDING or not record.active:
            return record
        if change is ChangeClass.SECURITY and self._policy.quarantine_drift:
            return await self._registry.quarantine(record.name, order=order)
        if change not in self._policy.auto_approve:
            return record
        running = record.state(record.active)
        waived: tuple[Waiver, ...] = ()
        if running is not None and running.approval is not None:
            waived = running.approval.waivers
        return await self._registry.approve(
            record.name, revision.digest, order=order, waivers=waived
        )

    async def _submission(
        self, url: str, found: Fetched, registration: Mapping[str, Any], endpoint: str
    ) -> Submission:
        manifest = self._read(found.body).manifest
        sent = Submission(found.body, url, registration, endpoint, found.etag)
        if manifest is None:
            return sent
        languages, notes = await fetched_languages(manifest, self._fetcher, url=found.url)
        return replace(sent, languages=languages, notes=notes)

    async def _note(self, name: str, note: str) -> None:
        health = await self._registry.ledger.health(name)
        seen = replace(health, source_at=self._now(), source_note=note)
        await self._registry.ledger.note_health(name, seen)
