"""What may become of a skill and its revisions, on two axes that never mix. Pure.

A revision is trusted or not; a skill is in use or not. What runs is the revision that `active`
names, as long as both say so. Each transition gives the skill as it is afterwards, or raises
`RegistryRefused` and `NotRegistered`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from types import MappingProxyType

from skills_host.consumer.registry.records import (
    Approval,
    Grant,
    Operating,
    RevisionState,
    SkillRecord,
    Trust,
)
from skills_host.errors import NotRegistered, RegistryRefused

__all__ = [
    "KEPT_REVISIONS",
    "Standing",
    "approved",
    "granted",
    "is_usable",
    "operated",
    "quarantined",
    "received",
    "rejected",
    "released",
    "revision_of",
    "revoked",
    "rolled_back",
    "standing_of",
    "submitted",
    "ungranted",
]

KEPT_REVISIONS = 50
"""How many revisions of a skill are kept; the oldest that nothing needs go first."""

_GOES: Mapping[Operating, frozenset[Operating]] = MappingProxyType(
    {
        Operating.DISABLED: frozenset({Operating.ENABLED, Operating.RETIRED}),
        Operating.ENABLED: frozenset({Operating.DISABLED, Operating.DRAINING, Operating.RETIRED}),
        Operating.DRAINING: frozenset({Operating.DISABLED, Operating.ENABLED, Operating.RETIRED}),
        Operating.RETIRED: frozenset(),
    }
)
_FORGETTABLE = frozenset({Trust.INVALID, Trust.VALIDATED, Trust.REJECTED, Trust.SUPERSEDED})


class Standing(StrEnum):
    """What a skill amounts to now: runs, goes on with what it has, or is barred, and how."""

    RUNNING = "running"
    DRAINING = "draining"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


def standing_of(record: SkillRecord) -> Standing:
    """What a skill amounts to; one that never had an approved revision is unknown to the host."""
    if not record.active:
        was = any(state.trust is Trust.REVOKED and state.approval for state in record.revisions)
        return Standing.REVOKED if was else Standing.UNKNOWN
    if record.quarantine or record.operating in (Operating.DISABLED, Operating.RETIRED):
        return Standing.SUSPENDED
    return Standing.DRAINING if record.operating is Operating.DRAINING else Standing.RUNNING


def is_usable(record: SkillRecord) -> bool:
    """True if conversations with the skill go on."""
    return standing_of(record) in (Standing.RUNNING, Standing.DRAINING)


def revision_of(record: SkillRecord, digest: str, *trusts: Trust) -> RevisionState:
    """The revision that a digest, or its beginning, names; without one the latest of `trusts`.

    Raises `NotRegistered`, and `RegistryRefused` where the beginning is that of several.
    """
    if digest:
        found = [state for state in record.revisions if state.digest.startswith(digest)]
        if len(found) > 1:
            raise RegistryRefused(f"{record.name}: several revisions begin with {digest[:64]}")
    else:
        found = [state for state in record.revisions if state.trust in trusts][-1:]
    if not found:
        wanted = f"revision {digest[:64]}" if digest else f"{' or '.join(trusts)} revision"
        raise NotRegistered(f"{record.name}: there is no {wanted}")
    return found[0]


# Trust


def received(record: SkillRecord, state: RevisionState) -> SkillRecord:
    """With one more revision, which is not trusted yet; the same one again changes nothing."""
    earlier = record.state(state.digest)
    if earlier is not None and earlier.trust not in (Trust.SUPERSEDED, Trust.REJECTED):
        if earlier.trust is Trust.REVOKED:
            raise RegistryRefused(f"{record.name}: these very bytes were revoked")
        return record
    _open(record)
    others = tuple(one for one in record.revisions if one.digest != state.digest)
    return replace(record, revisions=_kept((*others, state), record.active))


def submitted(record: SkillRecord, digest: str, *, by: str) -> SkillRecord:
    """With a validated revision put up for approval."""
    _open(record)
    state = _in_state(record, digest, Trust.VALIDATED)
    return _with(record, replace(state, trust=Trust.PENDING, submitted_by=by))


def approved(record: SkillRecord, approval: Approval, *, four_eyes: bool) -> SkillRecord:
    """With a pending revision approved: it is what runs, and the one before is superseded."""
    _open(record)
    state = _in_state(record, approval.digest, Trust.PENDING)
    if four_eyes and approval.by in (state.submitted_by, state.received_by):
        raise RegistryRefused(code="four-eyes")
    return _running(_with(record, replace(state, approval=approval, reason="")), state.digest)


def rejected(record: SkillRecord, digest: str, *, reason: str) -> SkillRecord:
    """With a pending revision turned down."""
    state = _in_state(record, digest, Trust.PENDING)
    return _with(record, replace(state, trust=Trust.REJECTED, reason=reason))


def revoked(record: SkillRecord, digest: str, *, reason: str) -> SkillRecord:
    """With a revision that is never trusted again; if it ran, nothing runs."""
    state = revision_of(record, digest)
    if state.trust is Trust.REVOKED:
        return record
    after = _with(record, replace(state, trust=Trust.REVOKED, reason=reason))
    return replace(after, active="") if after.active == state.digest else after


def rolled_back(record: SkillRecord, digest: str) -> SkillRecord:
    """With an earlier revision running again: it needs no second approval."""
    _open(record)
    state = revision_of(record, digest)
    if state.trust is not Trust.SUPERSEDED or state.approval is None:
        raise RegistryRefused(f"{record.name}: revision {state.digest[:12]} is {state.trust}")
    return _running(record, state.digest)


# Operation


def operated(record: SkillRecord, to: Operating) -> SkillRecord:
    """Enabled, disabled, draining or retired; what it is already changes nothing."""
    if record.operating is to:
        return record
    if to not in _GOES[record.operating]:
        raise RegistryRefused(f"{record.name} is {record.operating} and cannot be {to}")
    return replace(record, operating=to)


def quarantined(record: SkillRecord, *, reason: str) -> SkillRecord:
    """Kept from users until an operator releases it."""
    _open(record)
    return replace(record, quarantine=reason or "no reason given")


def released(record: SkillRecord) -> SkillRecord:
    """Out of quarantine."""
    if not record.quarantine:
        raise RegistryRefused(f"{record.name} is not in quarantine")
    return replace(record, quarantine="")


# Grants


def granted(record: SkillRecord, grant: Grant) -> SkillRecord:
    """With one more grant; one that it has changes nothing."""
    if grant in record.grants:
        return record
    return replace(record, grants=(*record.grants, grant))


def ungranted(record: SkillRecord, grant: Grant) -> SkillRecord:
    """Without a grant; the last one stays, for none at all means everyone."""
    if grant not in record.grants:
        raise NotRegistered(f"{record.name}: there is no such grant")
    left = tuple(one for one in record.grants if one != grant)
    if not left:
        raise RegistryRefused(code="last-grant")
    return replace(record, grants=left)


def _open(record: SkillRecord) -> None:
    if record.operating is Operating.RETIRED:
        raise RegistryRefused(f"{record.name} is retired")


def _in_state(record: SkillRecord, digest: str, trust: Trust) -> RevisionState:
    state = revision_of(record, digest, trust)
    if state.trust is not trust:
        raise RegistryRefused(f"{record.name}: revision {state.digest[:12]} is {state.trust}")
    return state


def _with(record: SkillRecord, state: RevisionState) -> SkillRecord:
    states = (state if one.digest == state.digest else one for one in record.revisions)
    return replace(record, revisions=tuple(states))


def _running(record: SkillRecord, digest: str) -> SkillRecord:
    def now(state: RevisionState) -> RevisionState:
        if state.digest == digest:
            return replace(state, trust=Trust.APPROVED)
        if state.trust is Trust.APPROVED:
            return replace(state, trust=Trust.SUPERSEDED)
        return state

    return replace(record, active=digest, revisions=tuple(map(now, record.revisions)))


def _kept(states: tuple[RevisionState, ...], active: str) -> tuple[RevisionState, ...]:
    """Without the oldest where there are too many; what runs, waits or is revoked stays."""
    excess = len(states) - KEPT_REVISIONS
    going = [s.digest for s in states[:-1] if s.trust in _FORGETTABLE and s.digest != active]
    gone = frozenset(going[: max(excess, 0)])
    return tuple(state for state in states if state.digest not in gone)
