"""What the REST API takes and gives, as models: checked when it comes in, described in OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from skills_host.consumer.registry.changes import ChangeClass
from skills_host.consumer.registry.records import (
    Grant,
    Health,
    Operating,
    Origin,
    Trust,
    Waiver,
)

__all__ = [
    "AllowedSkillBody",
    "AllowlistBody",
    "ApproveBody",
    "AuditBody",
    "AuditPage",
    "DiffBody",
    "DifferenceBody",
    "ExplainBody",
    "ExplainedBody",
    "FindingBody",
    "GrantBody",
    "GrantsBody",
    "HealthBody",
    "NewRevisionBody",
    "NewSkillBody",
    "ProblemBody",
    "ReasonBody",
    "RevisionBody",
    "RevisionStateBody",
    "RollbackBody",
    "SkillBody",
    "SkillPage",
    "VerifiedBody",
]

MANIFEST_CHARACTERS = 512 * 1024

Text = Annotated[str, StringConstraints(max_length=200)]
Long = Annotated[str, StringConstraints(max_length=2000)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^(|[0-9a-f]{4,64})$")]
Texts = Annotated[tuple[Text, ...], Field(max_length=100)]


class Taken(BaseModel):
    """What comes in: no member that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Given(BaseModel):
    """What goes out."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ReasonBody(Taken):
    """Why something is done, for the audit trail."""

    reason: Long = ""


class RollbackBody(ReasonBody):
    """Which earlier revision is to run again; by default the latest."""

    revision: Digest = ""


class ApproveBody(ReasonBody):
    """What the approver lets pass beside."""

    waivers: Annotated[tuple[Waiver, ...], Field(max_length=10)] = ()


class NewRevisionBody(ReasonBody):
    """A manifest, and what stands beside it: its text, whose UTF-8 bytes are kept, or its address.

    `registration` has the members of `[skills.NAME]`, `endpoint` names one of the manifest's.
    `sha256` is what the bytes have to have; `submit` puts the revision up for approval at once.
    """

    manifest: Annotated[str, StringConstraints(max_length=MANIFEST_CHARACTERS)] = ""
    url: Long = ""
    registration: dict[str, Any] = Field(default_factory=dict)
    endpoint: Text = ""
    sha256: Annotated[str, StringConstraints(pattern=r"^(|[0-9A-Fa-f]{64})$")] = ""
    submit: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.manifest) == bool(self.url):
            raise ValueError("give either manifest or url")
        return self


class NewSkillBody(NewRevisionBody):
    """A skill with its first revision."""

    name: Name


class GrantBody(Taken):
    """Who may be routed to the skill: each list that is not empty must name the one who asks."""

    roots: Texts = ()
    tenants: Texts = ()
    channels: Texts = ()
    users: Texts = ()

    def grant(self) -> Grant:
        """The grant as the registry has it."""
        return Grant(self.roots, self.tenants, self.channels, self.users)


class GrantsBody(ReasonBody):
    """All grants of a skill; `[{}]` is everyone."""

    grants: Annotated[tuple[GrantBody, ...], Field(min_length=1, max_length=100)]


class ExplainBody(Taken):
    """What a user would say, where and as whom."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
    root: Text = ""
    locale: Text = ""
    channel: Text = ""
    tenant: Text = ""
    user: Text = ""
    active: Text = ""


class FindingBody(Given):
    """One finding of the check of a manifest; `line` and `column` from 1, or 0."""

    code: str
    severity: str
    pointer: str
    message: str
    line: int = 0
    column: int = 0
    fix: str = ""


class ProblemBody(Given):
    """What went wrong, as RFC 9457 has it, with our code, its fix and the receipt of a refusal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str
    title: str
    status: int
    detail: str
    code: str
    fix: str
    receipt: str = ""
    findings: tuple[FindingBody, ...] = ()


class RevisionStateBody(Given):
    """How far a revision is trusted, and who made it so; times in seconds since the epoch."""

    digest: str
    trust: Trust
    received: float
    received_by: str
    submitted_by: str
    approved_by: str = ""
    approved: float = 0.0
    waivers: tuple[Waiver, ...] = ()
    reason: str = ""


class HealthBody(Given):
    """How the skill was when it was last looked at."""

    health: Health
    at: float
    note: str


class SkillBody(Given):
    """A skill; `version` is what its ETag says. In a dry run, as it would be."""

    name: str
    version: int
    origin: Origin
    source: str
    owner: str
    created: float
    operating: Operating
    quarantine: str
    active: str
    revisions: tuple[RevisionStateBody, ...]
    grants: tuple[GrantBody, ...]
    dry_run: bool = False
    change: ChangeClass | None = None
    note: str = ""
    findings: tuple[FindingBody, ...] = ()


class SkillPage(Given):
    """Skills by name; `next` is the path of the page after, if there is one."""

    skills: tuple[SkillBody, ...]
    next: str = ""


class RevisionBody(Given):
    """A revision, which never changes; `manifest` as it was understood."""

    skill: str
    state: RevisionStateBody
    source: str
    sha256: str
    canonical: str
    endpoint: str
    url: str
    app_id: str
    tenants: tuple[str, ...]
    manifest: dict[str, Any]
    registration: dict[str, Any]
    languages: tuple[dict[str, str], ...]
    findings: tuple[FindingBody, ...]


class DifferenceBody(Given):
    """One place where two revisions differ; `before` and `after` as JSON, empty where absent."""

    pointer: str
    kind: ChangeClass
    before: str
    after: str


class DiffBody(Given):
    """Where two revisions differ, and what the gravest difference is."""

    differences: tuple[DifferenceBody, ...]
    change: ChangeClass | None


class AllowedSkillBody(Given):
    """A skill that the host's roots may call and that may call them back."""

    name: str
    app_id: str
    endpoint: str
    tenants: tuple[str, ...]


class AllowlistBody(Given):
    """Who may at this moment, in both directions; `callers` by our bot's app id."""

    epoch: int
    skills: tuple[AllowedSkillBody, ...]
    callers: dict[str, tuple[str, ...]]


class ExplainedBody(Given):
    """What the routing would do with the words, and why."""

    decision: dict[str, Any]


class AuditBody(Given):
    """One thing that was done; `before` is the hash of the entry before."""

    n: int
    at: float
    actor: str
    verb: str
    skill: str
    revision: str
    reason: str
    details: dict[str, str]
    before: str


class AuditPage(Given):
    """Entries of the audit trail, oldest first; `next` is the path of the page after."""

    entries: tuple[AuditBody, ...]
    next: str = ""


class VerifiedBody(Given):
    """The whole audit trail was followed: how many entries, and the hash of the last."""

    epoch: int
    digest: str
