"""The skills that settings name, taken into the registry as revisions that they approve."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from skills_host.consumer.registry.audit import Head
from skills_host.consumer.registry.deeds import first_grants, kept
from skills_host.consumer.registry.intake import Submission, revision_of_submission
from skills_host.consumer.registry.ledger import Also, Deed, Ledger, Move, nothing_else
from skills_host.consumer.registry.lifecycle import approved, received
from skills_host.consumer.registry.records import (
    Actor,
    Approval,
    Operating,
    Order,
    Origin,
    Revision,
    RevisionState,
    SkillRecord,
    Trust,
    Waiver,
)
from skills_host.errors import SettingsError, VersionConflict
from skills_host.store.records import Change

__all__ = ["CONFIGURATION", "take_in"]

log = logging.getLogger(__name__)

ATTEMPTS = 5
CONFIGURATION = "configuration"
_ORDER = Order(Actor(CONFIGURATION))


async def take_in(
    ledger: Ledger, sent: Mapping[str, Submission], *, now: Callable[[], float]
) -> None:
    """Bring the registry to what the settings say of their own skills; unchanged is no revision.

    What the settings name no more is retired. Raises `SettingsError` for a name that was
    registered otherwise.
    """
    known = {record.name: record async for record in ledger.every_skill()}
    for name, one in sent.items():
        record = known.get(name)
        revision = revision_of_submission(name, one, now=now())
        if record is None or not _is_as_said(record, revision):
            await _take(ledger, one, revision, is_new=record is None)
    for name, record in known.items():
        is_ours = record.origin is Origin.CONFIGURATION
        if is_ours and name not in sent and record.operating is not Operating.RETIRED:
            await _deed(ledger, Deed(CONFIGURATION, "retire", name), _retired)


def _is_as_said(record: SkillRecord, revision: Revision) -> bool:
    if record.origin is not Origin.CONFIGURATION:
        raise SettingsError(f"skills.{record.name}: the registry has a skill of this name already")
    state = record.state(revision.digest)
    if state is not None and state.trust is Trust.REVOKED:
        log.error("skill %s does not run: what the settings say of it was revoked", record.name)
        return True
    return record.active == revision.digest and record.operating is not Operating.RETIRED


async def _take(ledger: Ledger, sent: Submission, revision: Revision, *, is_new: bool) -> None:
    at, digest, name = revision.received, revision.digest, revision.skill
    approval = Approval(CONFIGURATION, at, digest, "configured", tuple(Waiver))
    state = RevisionState(digest, Trust.PENDING, at, CONFIGURATION, CONFIGURATION)

    def move(found: SkillRecord | None) -> SkillRecord:
        if found is not None and _is_as_said(found, revision):
            return found
        record = found or SkillRecord(name, Origin.CONFIGURATION, sent.source, CONFIGURATION, at)
        if record.operating is Operating.RETIRED:
            record = replace(record, operating=Operating.ENABLED)
        assert revision.manifest is not None  # noqa: S101 - the settings were read with it
        record = replace(
            record,
            source=sent.source,
            manifest_id=revision.manifest.id,
            publisher=revision.manifest.publisher,
            grants=first_grants(revision),
        )
        if record.active == digest:
            return record
        return approved(received(record, state), approval, four_eyes=False)

    async def also(head: Head) -> Sequence[Change]:
        # Another app id may have been in use: its conversations are not the new one's.
        ends = [] if is_new else [ledger.ending(name, head)]
        return [*kept(revision, sent), *ends]

    deed = Deed(CONFIGURATION, "approve", name, digest, "configured", {"sha256": revision.sha256})
    await _deed(ledger, deed, move, also)


def _retired(record: SkillRecord | None) -> SkillRecord:
    assert record is not None  # noqa: S101 - it was just read
    return replace(record, operating=Operating.RETIRED)


async def _deed(ledger: Ledger, deed: Deed, move: Move, also: Also = nothing_else) -> None:
    """Do it, also where another process with the same settings does so at the same time."""
    for attempt in range(ATTEMPTS):
        try:
            await ledger.apply(deed.skill, move, deed, _ORDER, also=also)
            return
        except VersionConflict:
            if attempt == ATTEMPTS - 1:
                raise
