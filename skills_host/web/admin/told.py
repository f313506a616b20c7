"""From the registry's values to what the REST API gives. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from skills_host.auth.allowlist import Snapshot
from skills_host.consumer.registry.audit import Entry
from skills_host.consumer.registry.changes import ChangeClass, Difference, gravest
from skills_host.consumer.registry.records import (
    Grant,
    Note,
    Revision,
    RevisionState,
    SkillRecord,
)
from skills_host.web.admin.bodies import (
    AllowedSkillBody,
    AllowlistBody,
    AuditBody,
    DiffBody,
    DifferenceBody,
    FindingBody,
    GrantBody,
    RevisionBody,
    RevisionStateBody,
    SkillBody,
)
from skills_host.wire import decode, encode

__all__ = ["allowlist_told", "diff_told", "entry_told", "revision_told", "skill_told"]


def skill_told(
    record: SkillRecord,
    *,
    dry_run: bool = False,
    change: ChangeClass | None = None,
    note: str = "",
    findings: Iterable[Note] = (),
) -> SkillBody:
    """A skill."""
    return SkillBody(
        name=record.name,
        version=record.version,
        origin=record.origin,
        source=record.source,
        owner=record.owner,
        created=record.created,
        operating=record.operating,
        quarantine=record.quarantine,
        active=record.active,
        revisions=tuple(map(_state, record.revisions)),
        grants=tuple(map(_grant, record.grants)),
        dry_run=dry_run,
        change=change,
        note=note,
        findings=tuple(map(_finding, findings)),
    )


def revision_told(revision: Revision, state: RevisionState) -> RevisionBody:
    """A revision and how far it is trusted."""
    binding = revision.binding
    return RevisionBody(
        skill=revision.skill,
        state=_state(state),
        source=revision.source,
        sha256=revision.sha256,
        canonical=revision.canonical,
        endpoint=binding.endpoint if binding else "",
        url=binding.url if binding else "",
        app_id=binding.app_id if binding else "",
        tenants=binding.tenants if binding else (),
        manifest=decode(encode(revision.manifest)) or {},
        registration=decode(encode(revision.registration)),
        languages=tuple(asdict(language) for language in revision.languages),
        findings=tuple(map(_finding, revision.findings)),
    )


def diff_told(found: tuple[Difference, ...]) -> DiffBody:
    """Where two revisions differ."""
    differences = tuple(DifferenceBody.model_validate(asdict(one)) for one in found)
    return DiffBody(differences=differences, change=gravest(found))


def allowlist_told(snapshot: Snapshot) -> AllowlistBody:
    """Who may at this moment."""
    skills = (
        AllowedSkillBody(
            name=skill.name,
            app_id=skill.app_id,
            endpoint=skill.endpoint,
            tenants=tuple(sorted(skill.tenants)),
        )
        for skill in snapshot.skills.values()
    )
    callers = {bot: tuple(sorted(peers)) for bot, peers in snapshot.callers.items()}
    return AllowlistBody(epoch=snapshot.epoch, skills=tuple(skills), callers=callers)


def entry_told(entry: Entry) -> AuditBody:
    """One entry of the audit trail."""
    return AuditBody.model_validate({**asdict(entry), "details": dict(entry.details)})


def _state(state: RevisionState) -> RevisionStateBody:
    approval = state.approval
    return RevisionStateBody(
        digest=state.digest,
        trust=state.trust,
        received=state.received,
        received_by=state.received_by,
        submitted_by=state.submitted_by,
        approved_by=approval.by if approval else "",
        approved=approval.at if approval else 0.0,
        waivers=approval.waivers if approval else (),
        reason=state.reason or (approval.reason if approval else ""),
    )


def _grant(grant: Grant) -> GrantBody:
    # Not checked: grants of the settings may be longer than those that are taken here.
    return GrantBody.model_construct(**asdict(grant))


def _finding(note: Note) -> FindingBody:
    return FindingBody.model_validate(asdict(note))
