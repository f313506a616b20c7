"""What a verb of the registry writes beside the skill itself, and says in the audit trail. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skills_host.consumer.registry.changes import ChangeClass
from skills_host.consumer.registry.intake import Submission
from skills_host.consumer.registry.ledger import Deed, blob_key, revision_key
from skills_host.consumer.registry.lifecycle import received, submitted
from skills_host.consumer.registry.ownership import claims_of
from skills_host.consumer.registry.records import (
    BLOB,
    HEALTH,
    REVISION,
    SKILL,
    Grant,
    Order,
    Revision,
    RevisionState,
    SkillRecord,
    Trust,
)
from skills_host.store.records import Change, Delete, Put

__all__ = ["Received", "deed_of", "first_grants", "kept", "removed", "said", "with_revision"]


@dataclass(frozen=True, slots=True)
class Received:
    """What came of a submission: the skill, the revision, and how it differs from what runs."""

    skill: SkillRecord
    revision: Revision
    change: ChangeClass | None = None


def with_revision(
    record: SkillRecord, revision: Revision, order: Order, *, submit: bool
) -> SkillRecord:
    """The skill with a new revision, which may be put up for approval with it."""
    trust = Trust.VALIDATED if revision.is_valid else Trust.INVALID
    by = order.by.name
    after = received(record, RevisionState(revision.digest, trust, revision.received, by))
    is_new = after is not record and revision.is_valid
    return submitted(after, revision.digest, by=by) if submit and is_new else after


def kept(revision: Revision, sent: Submission) -> list[Change]:
    """The changes that keep a revision, the bytes that came with it, and what it claims."""
    name = revision.skill
    blobs = {revision.sha256: sent.raw} | {file.sha256: raw for file, raw in sent.languages}
    return [
        Put(REVISION, revision_key(name, revision.digest), revision.encode()),
        *(Put(BLOB, blob_key(name, digest), raw) for digest, raw in blobs.items()),
        *claims_of(revision),
    ]


def removed(record: SkillRecord, revisions: Sequence[Revision]) -> list[Change]:
    """The changes that remove a skill with all that belongs to it."""
    name = record.name
    keys = {(HEALTH, name)}
    for revision in revisions:
        keys.add((REVISION, revision_key(name, revision.digest)))
        sums = (revision.sha256, *(file.sha256 for file in revision.languages))
        keys |= {(BLOB, blob_key(name, one)) for one in sums}
        keys |= {(change.kind, change.key) for change in claims_of(revision)}
    gone: list[Change] = [Delete(SKILL, name, expects=record.version)]
    return gone + [Delete(kind, key) for kind, key in sorted(keys)]


def deed_of(
    verb: str,
    name: str,
    order: Order,
    revision: str = "",
    details: Mapping[str, str] | None = None,
) -> Deed:
    """What is done, without the details that are empty."""
    said = {key: value for key, value in (details or {}).items() if value}
    return Deed(order.by.name, verb, name, revision, order.reason, said)


def first_grants(revision: Revision) -> tuple[Grant, ...]:
    """Whom the registration document names, until an operator grants otherwise."""
    given = revision.registration.get("grants") or ()
    return tuple(Grant(**{name: tuple(named) for name, named in one.items()}) for one in given)


def said(grant: Grant) -> dict[str, str]:
    """A grant as the audit trail has it; nothing for everyone's."""
    lists = {"roots": grant.roots, "tenants": grant.tenants}
    lists |= {"channels": grant.channels, "users": grant.users}
    return {name: " ".join(named) for name, named in lists.items() if named}
