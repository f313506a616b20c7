"""Who did what in the registry, and when: entries that are chained, so that none can be changed.

Each entry names the hash of the one before, as bytes; the head names the last. The number of the
last entry is the epoch of everything that is derived from the registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from skills_host.errors import BadInput, SkillsHostError
from skills_host.store.records import NEW, Change, Put, Record, element_key
from skills_host.wire import decode_as, encode

__all__ = ["ENTRY", "HEAD", "START", "STREAM", "AuditBroken", "Chain", "Entry", "Head", "appended"]

ENTRY = "registry-audit"
HEAD = ("registry", "head")
STREAM = "audit"
START = sha256(b"").hexdigest()
"""What the first entry names as the hash of the one before."""


class AuditBroken(SkillsHostError):
    """The trail is not as it was written; `n` is the first entry that does not fit."""

    code = "audit-broken"

    def __init__(self, message: str, *, n: int) -> None:
        super().__init__(message)
        self.n = n


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was done; `before` is the hash of the entry before, `at` in seconds.

    `skill` and `revision` are empty where it concerns none; `details` say what else there was.
    """

    n: int
    at: float
    actor: str
    verb: str
    skill: str = ""
    revision: str = ""
    reason: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    before: str = START

    def encode(self) -> bytes:
        """The entry as it is stored; its hash is that of these bytes."""
        return encode(self)

    @classmethod
    def parse(cls, record: Record) -> Entry:
        """The entry from its record."""
        return decode_as(record.body, cls)


@dataclass(frozen=True, slots=True)
class Head:
    """Where the trail ends: how many entries there are, and the hash of the last."""

    epoch: int = 0
    digest: str = START
    version: int = NEW

    @classmethod
    def parse(cls, record: Record | None) -> Head:
        """The head from its record, or that of a trail that has not begun."""
        if record is None:
            return cls()
        stored = decode_as(record.body, cls)
        return cls(stored.epoch, stored.digest, record.version)


def appended(head: Head, entry: Entry) -> list[Change]:
    """The changes that add an entry; they are made only if the trail still ends at `head`."""
    body = entry.encode()
    after = encode({"epoch": entry.n, "digest": sha256(body).hexdigest()})
    return [
        Put(ENTRY, element_key(STREAM, entry.n), body, expects=NEW),
        Put(*HEAD, after, expects=head.version),
    ]


class Chain:
    """Follows a trail from its first entry, and compares where it ends with the head."""

    def __init__(self) -> None:
        self.n = 0
        self.digest = START

    @property
    def after(self) -> str:
        """The key of the last entry that was followed, or an empty text."""
        return element_key(STREAM, self.n) if self.n else ""

    def follow(self, record: Record) -> Entry:
        """The next entry. Raises `AuditBroken` if it is not the one that was written."""
        n = self.n + 1
        try:
            entry = Entry.parse(record)
        except BadInput:
            raise AuditBroken(f"entry {n} cannot be read", n=n) from None
        if record.key != element_key(STREAM, n) or entry.n != n:
            raise AuditBroken(f"entry {n} is missing", n=n)
        if entry.before != self.digest:
            raise AuditBroken(f"entry {n} does not follow the one before it", n=n)
        self.n, self.digest = n, sha256(record.body).hexdigest()
        return entry

    def ends(self, head: Record | None) -> int:
        """How many entries there are to follow. Raises `AuditBroken` for a spoilt head."""
        return self._head(head).epoch

    def finish(self, head: Record | None) -> Head:
        """The head, if the trail ends there. Raises `AuditBroken`."""
        found = self._head(head)
        if (found.epoch, found.digest) != (self.n, self.digest):
            raise AuditBroken(f"the trail does not end at entry {self.n} as written", n=self.n)
        return found

    def _head(self, head: Record | None) -> Head:
        try:
            return Head.parse(head)
        except BadInput:
            raise AuditBroken("the head of the trail cannot be read", n=self.n) from None
