"""The registry's records in the store: read at one moment, and changed with their audit entry.

Whatever is done is one unit: the change, its entry and with it the epoch; or nothing is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from skills_host.addressing import joined_key
from skills_host.consumer.manifest.lu import LanguageText
from skills_host.consumer.registry.audit import (
    ENTRY,
    HEAD,
    STREAM,
    AuditBroken,
    Chain,
    Entry,
    Head,
    appended,
)
from skills_host.consumer.registry.lifecycle import is_usable
from skills_host.consumer.registry.records import (
    BLOB,
    CLAIM,
    ENDING,
    HEALTH,
    REVISION,
    SKILL,
    HealthReport,
    Order,
    Revision,
    SkillRecord,
    language_texts,
)
from skills_host.errors import NotRegistered, VersionConflict
from skills_host.store.records import Change, Delete, Put, Record, Store, element_key
from skills_host.wire import decode, encode

__all__ = [
    "Also",
    "Deed",
    "Ledger",
    "Move",
    "blob_key",
    "claim_key",
    "ending_epoch",
    "nothing_else",
    "revision_key",
]

PAGE = 500
ATTEMPTS = 20

Also = Callable[[Head], Awaitable[Sequence[Change]]]
"""The changes that go with one, or an error, as things are at the head that was read."""

Move = Callable[[SkillRecord | None], SkillRecord]
"""What a skill is after something was done to it; it may be none before. Pure."""


@dataclass(frozen=True, slots=True)
class Deed:
    """What is done, as its audit entry says: who, what, to which skill and revision, and why."""

    actor: str
    verb: str
    skill: str = ""
    revision: str = ""
    reason: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


class Ledger:
    """Reads the registry's records, and commits what is done to them."""

    def __init__(self, store: Store, *, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    async def head(self) -> Head:
        """Where the audit trail ends: one point read, with the epoch."""
        return Head.parse((await self._store.read([HEAD])).get(HEAD))

    async def at(self, name: str) -> tuple[Head, SkillRecord | None]:
        """The head and a skill at one moment."""
        found = await self._store.read([HEAD, (SKILL, name)])
        record = found.get((SKILL, name))
        return Head.parse(found.get(HEAD)), None if record is None else SkillRecord.parse(record)

    async def skill(self, name: str) -> SkillRecord:
        """A skill. Raises `NotRegistered`."""
        record = (await self.at(name))[1]
        if record is None:
            raise NotRegistered(f"there is no skill {name[:64]!r}")
        return record

    async def some(self, names: Sequence[str]) -> dict[str, SkillRecord]:
        """The skills of these names that there are."""
        found = await self._store.read([(SKILL, name) for name in names]) if names else {}
        return {record.key: SkillRecord.parse(record) for record in found.values()}

    async def skills(self, *, after: str = "", limit: int = PAGE) -> list[SkillRecord]:
        """A page of skills by name."""
        page = await self._store.scan(SKILL, after=after, limit=limit)
        return [SkillRecord.parse(record) for record in page]

    async def every_skill(self) -> AsyncIterator[SkillRecord]:
        """All skills, a page at a time."""
        after = ""
        while page := await self.skills(after=after):
            for record in page:
                yield record
            after = page[-1].name

    async def revision(self, name: str, digest: str) -> Revision:
        """A revision by its whole digest. Raises `NotRegistered`."""
        found = await self.revisions([(name, digest)])
        if not found:
            raise NotRegistered(f"{name[:64]} has no revision {digest[:64]}")
        return found[0]

    async def revisions(self, named: Sequence[tuple[str, str]]) -> list[Revision]:
        """The revisions of these skills and digests that there are."""
        keys = [(REVISION, revision_key(name, digest)) for name, digest in named]
        found = await self._store.read(keys) if keys else {}
        return [Revision.parse(found[key]) for key in keys if key in found]

    async def blob(self, name: str, sha256: str) -> bytes:
        """Bytes that were sent in with a skill. Raises `NotRegistered`."""
        key = (BLOB, blob_key(name, sha256))
        record = (await self._store.read([key])).get(key)
        if record is None:
            raise NotRegistered(f"{name[:64]} has no bytes {sha256[:64]}")
        return record.body

    async def languages(self, revision: Revision) -> dict[str, tuple[LanguageText, ...]]:
        """The language files of a revision as texts, by locale; what is not UTF-8 is replaced."""
        return language_texts(
            [(file, await self.blob(revision.skill, file.sha256)) for file in revision.languages]
        )

    async def claims(self, what: str, value: str) -> dict[str, str]:
        """Which skills have a manifest id or an app id, each with its publisher."""
        prefix = claim_key(what, value, "")
        page = await self._store.scan(CLAIM, prefix, limit=PAGE)
        names = [record.body.decode().partition("\n") for record in page]
        return {name: publisher for name, _, publisher in names}

    async def health(self, name: str) -> HealthReport:
        """What was last seen of a skill."""
        record = (await self._store.read([(HEALTH, name)])).get((HEALTH, name))
        return HealthReport() if record is None else HealthReport.parse(record)

    async def note_health(self, name: str, report: HealthReport) -> None:
        """Keep what was seen; it is an observation, so no audit entry goes with it."""
        await self._store.write([Put(HEALTH, name, report.encode())])

    async def commit(self, head: Head, deed: Deed, changes: Sequence[Change]) -> Entry:
        """Do something, if the trail still ends at `head`. Raises `VersionConflict`."""
        entry = Entry(
            n=head.epoch + 1,
            at=self._now(),
            actor=deed.actor,
            verb=deed.verb,
            skill=deed.skill,
            revision=deed.revision,
            reason=deed.reason,
            details=deed.details,
            before=head.digest,
        )
        await self._store.write([*changes, *appended(head, entry)])
        return entry

    async def apply(
        self, name: str, move: Move, deed: Deed, order: Order, *, also: Also
    ) -> SkillRecord:
        """Move a skill, or none, to what it is afterwards; the same again is no deed.

        With the skill go the revisions that it does not keep, and the order to end its sessions
        where it may not be used any more. Whatever somebody else does meanwhile to other skills
        comes before it; to this one, it is a `VersionConflict`.
        """
        version = order.expects
        for _ in range(ATTEMPTS):
            head, before = await self.at(name)
            found = 0 if before is None else before.version
            if version is not None and found != version:
                break
            version = found
            after = move(before)
            if after == before:
                return after
            changes = [*self._changes(before, after, head), *await also(head)]
            if order.dry_run:
                return after
            try:
                await self.commit(head, deed, changes)
            except VersionConflict:
                continue
            return replace(after, version=version + 1)
        raise VersionConflict(SKILL, name)

    def _changes(self, before: SkillRecord | None, after: SkillRecord, head: Head) -> list[Change]:
        name, version = after.name, before.version if before else 0
        changes: list[Change] = [Put(SKILL, name, after.encode(), expects=version)]
        if before is None:
            return changes
        kept = {state.digest for state in after.revisions}
        gone = [state.digest for state in before.revisions if state.digest not in kept]
        changes += [Delete(REVISION, revision_key(name, digest)) for digest in gone]
        if is_usable(before) and not is_usable(after):
            changes.append(self.ending(name, head))
        return changes

    def ending(self, name: str, head: Head) -> Change:
        """The order to end sessions with a skill, for a host that has seen what is done now."""
        body = encode({"epoch": head.epoch + 1, "passes": 0})
        return Put(ENDING, name, body, due=self._now())

    async def entries(self, *, after: int = 0, limit: int = PAGE) -> list[Entry]:
        """A page of the audit trail, oldest first."""
        key = element_key(STREAM, after) if after else ""
        page = await self._store.scan(ENTRY, f"{STREAM}/", after=key, limit=limit)
        return [Entry.parse(record) for record in page]

    async def verify(self, *, noted: str = "") -> Head:
        """Follow the whole trail. Raises `AuditBroken` at the first entry that does not fit.

        `noted` is the hash of an entry as somebody noted it elsewhere: it has to be among them.
        """
        chain = Chain()
        record = (await self._store.read([HEAD])).get(HEAD)
        epoch = chain.ends(record)
        while chain.n < epoch:
            page = await self._store.scan(
                ENTRY, after=chain.after, limit=min(PAGE, epoch - chain.n)
            )
            if not page:
                break
            for entry in page:
                chain.follow(entry)
                noted = "" if chain.digest == noted else noted
        head = chain.finish(record)
        if noted:
            raise AuditBroken("no entry has the hash that was noted", n=epoch)
        beyond = await self._store.scan(ENTRY, after=chain.after, limit=1)
        again = await self.head()
        if beyond and again == head:
            raise AuditBroken(f"entry {epoch + 1} is not in the head", n=epoch + 1)
        return head


async def nothing_else(_: Head) -> Sequence[Change]:
    """No other changes."""
    return ()


def ending_epoch(order: Record) -> tuple[int, int]:
    """The epoch that an order to end sessions came with, and how often it was carried out."""
    found = decode(order.body)
    return found["epoch"], found["passes"]


def revision_key(name: str, digest: str) -> str:
    """The key of a revision's record."""
    return joined_key(name, digest)


def blob_key(name: str, sha256: str) -> str:
    """The key of bytes that came with a skill: it takes them along when it is removed."""
    return joined_key(name, sha256)


def claim_key(what: str, value: str, name: str) -> str:
    """The key of a skill's claim to a manifest id (`id`) or an app id (`app`)."""
    return joined_key(what, value, name)
