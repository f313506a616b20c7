"""The registry's verbs: who wants what done to which skill; each is one unit with its audit entry.

A verb gives the skill as it is afterwards, with the version of its record (an ETag), and raises
`NotRegistered`, `RegistryRefused` and `VersionConflict`, after which nothing has changed. Two at
once that change different skills both happen, one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from skills_host.consumer.manifest.readers import read
from skills_host.consumer.registry.audit import Head
from skills_host.consumer.registry.changes import ChangeClass, Difference, differences, gravest
from skills_host.consumer.registry.deeds import (
    Received,
    deed_of,
    first_grants,
    kept,
    removed,
    said,
    with_revision,
)
from skills_host.consumer.registry.intake import (
    InvalidManifest,
    Read,
    Submission,
    revision_of_submission,
)
from skills_host.consumer.registry.ledger import Also, Deed, Ledger, nothing_else
from skills_host.consumer.registry.lifecycle import (
    approved,
    granted,
    is_usable,
    operated,
    quarantined,
    rejected,
    released,
    revision_of,
    revoked,
    rolled_back,
    submitted,
    ungranted,
)
from skills_host.consumer.registry.ownership import (
    check_ownership,
    check_waivers,
    needed_waivers,
)
from skills_host.consumer.registry.records import (
    SKILL,
    Approval,
    Grant,
    Operating,
    Order,
    Origin,
    Revision,
    SkillRecord,
    Trust,
    Waiver,
)
from skills_host.consumer.registry.roles import check_role
from skills_host.errors import NotRegistered, RegistryRefused, VersionConflict
from skills_host.store.records import Change, Store

__all__ = ["InvalidManifest", "Received", "Registry"]

ATTEMPTS = 20
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


class Registry:
    """The skills of a host: what is sent in, what is approved, what is in use.

    `own_app_ids` are those of the host's bots, which no skill may have; `changed` is called after
    every change. `read` reads manifests, by the rules for where skills may be; `check` gives back
    a revision that was sent in, or raises `RegistryRefused` for one that could not be used.
    """

    def __init__(
        self,
        store: Store,
        *,
        now: Callable[[], float],
        own_app_ids: frozenset[str],
        four_eyes: bool = False,
        changed: Callable[[], object] = lambda: None,
        read: Read = read,
        check: Callable[[Revision], Revision] = lambda revision: revision,
    ) -> None:
        self.ledger = Ledger(store, now=now)
        self._now = now
        self._own = own_app_ids
        self._four_eyes = four_eyes
        self._changed = changed
        self._read = read
        self._check = check

    # What is sent in

    async def add(
        self, name: str, sent: Submission, *, order: Order, submit: bool = False, sha256: str = ""
    ) -> Received:
        """Register a skill with its first revision; `submit` puts it up for approval at once.

        `sha256` is what the bytes have to have, if it is known. A manifest with errors is not
        taken in (`InvalidManifest`). A name that the settings have given up can be had again.
        """
        check_role(order.by, "add")
        revision = self._checked(name, sent, sha256)
        if revision.manifest is None:
            raise InvalidManifest(revision.findings)
        if not NAME.fullmatch(name):
            raise RegistryRefused("name: a-z, 0-9 and _.- only", code="bad-registration")
        made = SkillRecord(
            name,
            Origin.REGISTRY,
            sent.source,
            order.by.name,
            self._now(),
            revision.manifest.id,
            revision.manifest.publisher,
            grants=first_grants(revision),
        )

        def new(record: SkillRecord | None) -> SkillRecord:
            if record is not None and not _is_given_up(record):
                raise RegistryRefused(code="already-registered")
            version = 0 if record is None else record.version
            return with_revision(replace(made, version=version), revision, order, submit=submit)

        deed = deed_of("add", name, order, revision.digest, {"sha256": revision.sha256})
        return Received(await self._apply(new, deed, order, self._taken(revision, sent)), revision)

    async def revise(
        self, name: str, sent: Submission, *, order: Order, submit: bool = False, sha256: str = ""
    ) -> Received:
        """Add a revision to a skill; what runs does not change. One with errors is kept too."""
        check_role(order.by, "revise")
        record = await self.ledger.skill(name)
        revision = self._checked(name, sent, sha256)
        change = await self._change(record, revision, sent.raw)

        def move(record: SkillRecord | None) -> SkillRecord:
            return with_revision(_there(record, name), revision, order, submit=submit)

        details = {"sha256": revision.sha256, "change": change or ""}
        deed = deed_of("revise", name, order, revision.digest, details)
        after = await self._apply(move, deed, order, self._taken(revision, sent))
        return Received(after, revision, change)

    async def submit(self, name: str, digest: str = "", *, order: Order) -> SkillRecord:
        """Put a validated revision (the latest) up for approval."""
        found = await self._state(name, digest, Trust.VALIDATED)
        return await self._move(
            "submit",
            name,
            order,
            lambda record: submitted(record, found, by=order.by.name),
            found,
        )

    # Trust

    async def approve(
        self, name: str, digest: str = "", *, order: Order, waivers: Sequence[Waiver] = ()
    ) -> SkillRecord:
        """Approve a pending revision (the latest): exactly that is what runs from now on.

        Raises `RegistryRefused` (`waiver-needed`, `four-eyes`).
        """
        check_role(order.by, "approve")
        found = await self._state(name, digest, Trust.PENDING)
        revision = await self.ledger.revision(name, found)
        given = tuple(sorted(set(waivers)))

        async def also(head: Head) -> list[Change]:
            check_waivers(await needed_waivers(self.ledger, revision), given)
            return await self._rebound(name, revision, head)

        approval = Approval(order.by.name, self._now(), found, order.reason, given)
        return await self._move(
            "approve",
            name,
            order,
            lambda record: approved(record, approval, four_eyes=self._four_eyes),
            found,
            details={"sha256": revision.sha256, "waivers": " ".join(given)},
            also=also,
        )

    async def reject(self, name: str, digest: str = "", *, order: Order) -> SkillRecord:
        """Turn a pending revision (the latest) down."""
        found = await self._state(name, digest, Trust.PENDING)
        return await self._move(
            "reject", name, order, lambda one: rejected(one, found, reason=order.reason), found
        )

    async def revoke(self, name: str, digest: str = "", *, order: Order) -> SkillRecord:
        """Never trust a revision (the one that runs) again: its sessions end at once."""
        found = await self._state(name, digest, Trust.APPROVED)
        return await self._move(
            "revoke", name, order, lambda record: revoked(record, found, reason=order.reason), found
        )

    async def rollback(self, name: str, digest: str = "", *, order: Order) -> SkillRecord:
        """Let an earlier approved revision (the latest) run again."""
        found = await self._state(name, digest, Trust.SUPERSEDED)
        revision = await self.ledger.revision(name, found)
        return await self._move(
            "rollback",
            name,
            order,
            lambda record: rolled_back(record, found),
            found,
            also=lambda head: self._rebound(name, revision, head),
        )

    # Operation

    async def enable(self, name: str, *, order: Order) -> SkillRecord:
        """Let a skill be used."""
        return await self._operate("enable", name, Operating.ENABLED, order)

    async def disable(self, name: str, *, order: Order) -> SkillRecord:
        """Let a skill not be used for now: its sessions end."""
        return await self._operate("disable", name, Operating.DISABLED, order)

    async def drain(self, name: str, *, order: Order) -> SkillRecord:
        """Let a skill begin nothing new, and go on with what it has."""
        return await self._operate("drain", name, Operating.DRAINING, order)

    async def retire(self, name: str, *, order: Order) -> SkillRecord:
        """Take a skill out of use for good: its sessions end."""
        return await self._operate("retire", name, Operating.RETIRED, order)

    async def quarantine(self, name: str, *, order: Order) -> SkillRecord:
        """Keep a skill from users until an operator releases it: its sessions end."""
        return await self._move(
            "quarantine", name, order, lambda record: quarantined(record, reason=order.reason)
        )

    async def release(self, name: str, *, order: Order) -> SkillRecord:
        """Take a skill out of quarantine."""
        return await self._move("release", name, order, released)

    async def remove(self, name: str, *, order: Order) -> None:
        """Forget a skill that is not in use; the audit trail remembers it."""
        check_role(order.by, "remove")
        for _ in range(ATTEMPTS):
            head, record = await self.ledger.at(name)
            record = _there(record, name)
            if order.expects not in (None, record.version):
                break
            if is_usable(record):
                raise RegistryRefused(f"{name} is in use: disable or retire it first")
            if order.dry_run:
                return
            try:
                await self.ledger.commit(
                    head, deed_of("remove", name, order), await self._all_of(record)
                )
            except VersionConflict:
                continue
            self._changed()
            return
        raise VersionConflict(SKILL, name)

    # Grants

    async def grant(self, name: str, grant: Grant, *, order: Order) -> SkillRecord:
        """Let those whom a grant names be routed to a skill."""
        return await self._move(
            "grant", name, order, lambda record: granted(record, grant), details=said(grant)
        )

    async def ungrant(self, name: str, grant: Grant, *, order: Order) -> SkillRecord:
        """Take a grant back."""
        return await self._move(
            "ungrant", name, order, lambda record: ungranted(record, grant), details=said(grant)
        )

    async def set_grants(self, name: str, grants: Sequence[Grant], *, order: Order) -> SkillRecord:
        """Put these grants in the place of all others; everyone is an empty grant, not none."""
        wanted = tuple(dict.fromkeys(grants))
        if not wanted:
            raise RegistryRefused(code="last-grant")
        details = {str(n): str(said(grant)) for n, grant in enumerate(wanted)}
        return await self._move(
            "grant", name, order, lambda record: replace(record, grants=wanted), details=details
        )

    # What is asked

    def name_of(self, sent: Submission) -> str:
        """The name that a manifest suggests: its `$id`, as far as that can be a name."""
        manifest = sent.manifest or self._read(sent.raw).manifest
        return re.sub(r"[^a-z0-9_.-]+", "-", (manifest.id if manifest else "").lower())[:64]

    async def running(self) -> dict[str, str]:
        """The digest of the approved revision of each skill that has one, by name."""
        every = self.ledger.every_skill()
        return {record.name: record.active async for record in every if record.active}

    async def show(self, name: str) -> tuple[SkillRecord, tuple[Revision, ...]]:
        """A skill and its revisions, in the order in which they came."""
        record = await self.ledger.skill(name)
        named = [(name, state.digest) for state in record.revisions]
        return record, tuple(await self.ledger.revisions(named))

    async def diff(self, name: str, before: str = "", after: str = "") -> tuple[Difference, ...]:
        """Where two revisions differ: by default what runs, and the latest that waits."""
        record = await self.ledger.skill(name)
        old = revision_of(record, before or record.active, Trust.APPROVED).digest
        new = revision_of(record, after, Trust.PENDING, Trust.VALIDATED).digest
        found = [await self.ledger.revision(name, digest) for digest in (old, new)]
        raw = [await self.ledger.blob(name, revision.sha256) for revision in found]
        return differences(found[0], raw[0], found[1], raw[1])

    # How it is done

    def _checked(self, name: str, sent: Submission, sha256: str) -> Revision:
        if sha256 and sha256.lower() != sent.sha256:
            raise RegistryRefused(f"sha256 is {sent.sha256}", code="digest-mismatch")
        return self._check(revision_of_submission(name, sent, now=self._now(), read=self._read))

    def _taken(self, revision: Revision, sent: Submission) -> Also:
        async def also(head: Head) -> list[Change]:
            await check_ownership(self.ledger, revision, own=self._own)
            return kept(revision, sent)

        return also

    async def _change(
        self, record: SkillRecord, revision: Revision, raw: bytes
    ) -> ChangeClass | None:
        if not record.active:
            return None
        active = await self.ledger.revision(record.name, record.active)
        before = await self.ledger.blob(record.name, active.sha256)
        return gravest(differences(active, before, revision, raw))

    async def _state(self, name: str, digest: str, trust: Trust) -> str:
        return revision_of(await self.ledger.skill(name), digest, trust).digest

    async def _rebound(self, name: str, revision: Revision, head: Head) -> list[Change]:
        """Sessions end where another app id runs from now on: their handles are the old one's."""
        record = await self.ledger.skill(name)
        if not record.active or revision.binding is None:
            return []
        running = await self.ledger.revision(name, record.active)
        is_same = running.binding and running.binding.app_id == revision.binding.app_id
        return [] if is_same else [self.ledger.ending(name, head)]

    async def _operate(self, verb: str, name: str, to: Operating, order: Order) -> SkillRecord:
        return await self._move(verb, name, order, lambda record: operated(record, to))

    async def _all_of(self, record: SkillRecord) -> list[Change]:
        named = [(record.name, state.digest) for state in record.revisions]
        return removed(record, await self.ledger.revisions(named))

    async def _move(
        self,
        verb: str,
        name: str,
        order: Order,
        move: Callable[[SkillRecord], SkillRecord],
        revision: str = "",
        *,
        details: Mapping[str, str] | None = None,
        also: Also = nothing_else,
    ) -> SkillRecord:
        check_role(order.by, verb)
        deed = deed_of(verb, name, order, revision, details)
        return await self._apply(lambda record: move(_there(record, name)), deed, order, also)

    async def _apply(
        self,
        move: Callable[[SkillRecord | None], SkillRecord],
        deed: Deed,
        order: Order,
        also: Also = nothing_else,
    ) -> SkillRecord:
        after = await self.ledger.apply(deed.skill, move, deed, order, also=also)
        self._changed()
        return after


def _there(record: SkillRecord | None, name: str) -> SkillRecord:
    if record is None:
        raise NotRegistered(f"there is no skill {name[:64]!r}")
    return record


def _is_given_up(record: SkillRecord) -> bool:
    return record.origin is Origin.CONFIGURATION and record.operating is Operating.RETIRED
