"""What the registry remembers: skills, their immutable revisions, approvals, grants, health."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from skills_host.consumer.manifest.lu import LanguageText
from skills_host.consumer.manifest.model import Manifest
from skills_host.store.records import Record
from skills_host.wire import decode_as, encode

__all__ = [
    "BLOB",
    "CLAIM",
    "ENDING",
    "HEALTH",
    "REVISION",
    "SKILL",
    "Actor",
    "Approval",
    "Binding",
    "Grant",
    "Health",
    "HealthReport",
    "LanguageFile",
    "Note",
    "Operating",
    "Order",
    "Origin",
    "Revision",
    "RevisionState",
    "Role",
    "SkillRecord",
    "Trust",
    "Waiver",
    "language_texts",
]

SKILL = "registry-skill"
REVISION = "registry-revision"
BLOB = "registry-blob"
CLAIM = "registry-claim"
ENDING = "registry-ending"
HEALTH = "registry-health"


class Trust(StrEnum):
    """How far a revision is trusted; `revoked` is for good."""

    INVALID = "invalid"
    VALIDATED = "validated"
    PENDING = "pending"
    APPROVED = "approved"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"
    REVOKED = "revoked"


class Operating(StrEnum):
    """Whether a skill is in use: `draining` goes on with what it has; `retired` is for good."""

    DISABLED = "disabled"
    ENABLED = "enabled"
    DRAINING = "draining"
    RETIRED = "retired"


class Health(StrEnum):
    """How a skill was when it was last looked at; it never changes trust."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    DOWN = "down"
    UNAUTHORIZED = "unauthorized"


class Origin(StrEnum):
    """Who says that there is such a skill: the registry's users, or the settings."""

    REGISTRY = "registry"
    CONFIGURATION = "configuration"


class Waiver(StrEnum):
    """What an approver lets pass: a manifest from elsewhere than the endpoint, a shared app id."""

    ORIGIN = "origin"
    APP_ID = "app-id"


class Role(StrEnum):
    """What somebody may do in the registry."""

    AUTHOR = "author"
    APPROVER = "approver"
    OPERATOR = "operator"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something, as the audit trail names them, and what they may do."""

    name: str
    roles: frozenset[Role] = frozenset(Role)


@dataclass(frozen=True, slots=True)
class Order:
    """Who wants something done, and how: `expects` is the version that the skill must have.

    A dry run checks everything and changes nothing.
    """

    by: Actor
    reason: str = ""
    expects: int | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """Who may be routed to a skill: each list that is not empty must name the one who asks.

    An empty grant is for everyone.
    """

    roots: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Approval:
    """Who approved a revision, when (seconds since the epoch), why, and what they let pass."""

    by: str
    at: float
    digest: str
    reason: str = ""
    waivers: tuple[Waiver, ...] = ()


@dataclass(frozen=True, slots=True)
class RevisionState:
    """How far one revision of a skill is trusted, and who made it so."""

    digest: str
    trust: Trust
    received: float
    received_by: str = ""
    submitted_by: str = ""
    approval: Approval | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SkillRecord:
    """A skill of the registry; `version` is that of its record, 0 where it is not stored yet.

    `active` is the digest of the revision that runs, or empty; `quarantine` the reason for one.
    `revisions` are in the order in which they came.
    """

    name: str
    origin: Origin
    source: str
    owner: str
    created: float
    manifest_id: str = ""
    publisher: str = ""
    operating: Operating = Operating.ENABLED
    quarantine: str = ""
    active: str = ""
    revisions: tuple[RevisionState, ...] = ()
    grants: tuple[Grant, ...] = ()
    version: int = 0

    def state(self, digest: str) -> RevisionState | None:
        """The state of one of its revisions, if there is such a one."""
        return next((state for state in self.revisions if state.digest == digest), None)

    def encode(self) -> bytes:
        """The skill as it is stored, under its name."""
        return encode(replace(self, version=0))

    @classmethod
    def parse(cls, record: Record) -> SkillRecord:
        """The skill from its record."""
        return replace(decode_as(record.body, cls), version=record.version)


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a revision's skill is called and as whom; no tenants: the host's own."""

    endpoint: str
    url: str
    app_id: str
    tenants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LanguageFile:
    """A language-understanding file that a manifest names; `sha256` of the bytes that are kept.

    One that such a file leads to has that one's `url` as its `within`, and its own file name.
    """

    locale: str
    name: str
    url: str
    sha256: str
    within: str = ""


def language_texts(
    kept: Iterable[tuple[LanguageFile, bytes]],
) -> dict[str, tuple[LanguageText, ...]]:
    """The files that a manifest names as texts, by locale, each with what it leads to.

    What is not UTF-8 is replaced.
    """
    texts = {file: raw.decode("utf-8-sig", "replace") for file, raw in kept}
    found: dict[str, tuple[LanguageText, ...]] = {}
    for file, text in texts.items():
        if not file.within:
            at = (file.locale, file.url)
            beside = {o.name: t for o, t in texts.items() if (o.locale, o.within) == at}
            one = LanguageText(text, beside)
            found[file.locale] = (*found.get(file.locale, ()), one)
    return found


@dataclass(frozen=True, slots=True)
class Note:
    """One finding of the check that a revision's manifest went through when it came in."""

    code: str
    severity: str
    pointer: str
    message: str
    line: int = 0
    column: int = 0
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Revision:
    """What was sent in, once and for all: nothing of it changes.

    `digest` names all of it; `sha256` is that of the manifest's bytes, `canonical` that of its
    canonical form (RFC 8785), so that white space can be told from content. `manifest` is the
    manifest as it was understood then, `registration` our own document beside it. `etag` is what
    its source called these bytes.
    """

    digest: str
    skill: str
    source: str
    received: float
    sha256: str
    canonical: str
    binding: Binding | None
    manifest: Manifest | None = None
    registration: Mapping[str, Any] = field(default_factory=dict)
    languages: tuple[LanguageFile, ...] = ()
    findings: tuple[Note, ...] = ()
    etag: str = ""

    @property
    def is_valid(self) -> bool:
        """True if its manifest could be read and has no errors."""
        return self.binding is not None

    def encode(self) -> bytes:
        """The revision as it is stored."""
        return encode(self)

    @classmethod
    def parse(cls, record: Record) -> Revision:
        """The revision from its record."""
        return decode_as(record.body, cls)


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What was seen of a skill and its source, and when (seconds since the epoch)."""

    health: Health = Health.UNKNOWN
    at: float = 0.0
    note: str = ""
    source_at: float = 0.0
    source_note: str = ""

    def encode(self) -> bytes:
        """The report as it is stored, under the skill's name."""
        return encode(self)

    @classmethod
    def parse(cls, record: Record) -> HealthReport:
        """The report from its record."""
        return decode_as(record.body, cls)
