"""What each route does: asks the registry, and tells what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from pydantic import BaseModel

from skills_host.admin.idempotency import Answer
from skills_host.auth.allowlist import Snapshot
from skills_host.consumer.registry.intake import Submission
from skills_host.consumer.registry.lifecycle import revision_of
from skills_host.consumer.registry.records import HealthReport, Order, SkillRecord
from skills_host.consumer.registry.refresh import Published
from skills_host.consumer.registry.registry import Received, Registry
from skills_host.errors import BadInput, NotOffered, VersionConflict
from skills_host.web.admin.bodies import (
    ApproveBody,
    AuditPage,
    ExplainBody,
    ExplainedBody,
    GrantsBody,
    HealthBody,
    NewRevisionBody,
    NewSkillBody,
    RollbackBody,
    SkillPage,
    VerifiedBody,
)
from skills_host.web.admin.openapi import document
from skills_host.web.admin.routes import BASE, Route
from skills_host.web.admin.told import (
    allowlist_told,
    diff_told,
    entry_told,
    revision_told,
    skill_told,
)

__all__ = ["Administered", "Asked", "deed_at", "etag_of"]

RAW_MEDIA = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Administered:
    """What is administered; what is None, this host does not offer (501)."""

    registry: Registry
    snapshot: Callable[[], Snapshot]
    explain: Callable[[ExplainBody], Awaitable[Mapping[str, Any]]] | None = None
    published: Callable[[], AbstractAsyncContextManager[Published]] | None = None
    ping: Callable[[str, Order], Awaitable[HealthReport]] | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that may be: who asks, for what, and with what."""

    route: Route
    order: Order
    ids: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    limit: int = 100
    body: Any = None
    none_match: str = ""

    @property
    def skill(self) -> str:
        """The name of the skill in the path."""
        return self.ids["skill"]

    @property
    def digest(self) -> str:
        """The digest in the path, or the beginning of one."""
        return self.ids["digest"]


def etag_of(version: object) -> str:
    """A strong ETag."""
    return f'"{version}"'


def deed_at(route: Route) -> Callable[[Administered, Asked], Awaitable[Answer]]:
    """What a route does."""
    return _DEEDS[route.name]


def _told(body: BaseModel, *, status: int = 200, **headers: str) -> Answer:
    return Answer(status, body.model_dump_json().encode(), headers)


def _skill_answer(asked: Asked, record: SkillRecord, **more: Any) -> Answer:
    body = skill_told(record, dry_run=asked.order.dry_run, **more)
    # What a dry run gives is not stored, so that nothing can start from it.
    tag = {} if asked.order.dry_run else {"ETag": etag_of(record.version)}
    return _told(body, status=asked.route.status, **tag)


# What is asked


async def _openapi(given: Administered, asked: Asked) -> Answer:
    return Answer(200, document())


async def _list(given: Administered, asked: Asked) -> Answer:
    page = await given.registry.ledger.skills(after=asked.query.get("after", ""), limit=asked.limit)
    more = {"after": page[-1].name, "limit": asked.limit} if len(page) == asked.limit else None
    next_page = f"{BASE}/skills?{urlencode(more)}" if more else ""
    return _told(SkillPage(skills=tuple(map(skill_told, page)), next=next_page))


async def _show(given: Administered, asked: Asked) -> Answer:
    record = await given.registry.ledger.skill(asked.skill)
    tag = etag_of(record.version)
    return _unchanged(asked, tag) or _skill_answer(asked, record)


async def _revision(given: Administered, asked: Asked) -> Answer:
    record = await given.registry.ledger.skill(asked.skill)
    state = revision_of(record, asked.digest)
    revision = await given.registry.ledger.revision(asked.skill, state.digest)
    # The skill's version is part of it: how far a revision is trusted does change.
    tag = etag_of(f"{state.digest}-{record.version}")
    return _unchanged(asked, tag) or _told(revision_told(revision, state), ETag=tag)


async def _raw(given: Administered, asked: Asked) -> Answer:
    record = await given.registry.ledger.skill(asked.skill)
    digest = revision_of(record, asked.digest).digest
    revision = await given.registry.ledger.revision(asked.skill, digest)
    tag = etag_of(digest)
    if unchanged := _unchanged(asked, tag):
        return unchanged
    raw = await given.registry.ledger.blob(asked.skill, revision.sha256)
    return Answer(200, raw, {"ETag": tag}, RAW_MEDIA)


async def _diff(given: Administered, asked: Asked) -> Answer:
    before, after = (asked.query.get(name, "") for name in ("from", "to"))
    return _told(diff_told(await given.registry.diff(asked.skill, before, after)))


async def _allowlist(given: Administered, asked: Asked) -> Answer:
    return _told(allowlist_told(given.snapshot()))


async def _explain(given: Administered, asked: Asked) -> Answer:
    if given.explain is None:
        raise NotOffered("this host does not explain its routing")
    body: ExplainBody = asked.body
    return _told(ExplainedBody(decision=dict(await given.explain(body))))


async def _audit(given: Administered, asked: Asked) -> Answer:
    after = int(asked.query.get("after") or 0)
    page = await given.registry.ledger.entries(after=after, limit=asked.limit)
    more = {"after": page[-1].n, "limit": asked.limit} if len(page) == asked.limit else None
    next_page = f"{BASE}/audit?{urlencode(more)}" if more else ""
    return _told(AuditPage(entries=tuple(map(entry_told, page)), next=next_page))


async def _verify(given: Administered, asked: Asked) -> Answer:
    head = await given.registry.ledger.verify()
    return _told(VerifiedBody(epoch=head.epoch, digest=head.digest))


def _unchanged(asked: Asked, tag: str) -> Answer | None:
    known = [one.strip().removeprefix("W/") for one in asked.none_match.split(",")]
    return Answer(304, b"", {"ETag": tag}) if tag in known or known == ["*"] else None


# What is done


async def _add(given: Administered, asked: Asked) -> Answer:
    body: NewSkillBody = asked.body
    sent = await _submission(given, body)
    received = await given.registry.add(
        body.name, sent, order=asked.order, submit=body.submit, sha256=body.sha256
    )
    return _received(asked, received, Location=f"{BASE}/skills/{body.name}")


async def _revise(given: Administered, asked: Asked) -> Answer:
    body: NewRevisionBody = asked.body
    sent = await _submission(given, body)
    received = await given.registry.revise(
        asked.skill, sent, order=asked.order, submit=body.submit, sha256=body.sha256
    )
    digest = received.revision.digest
    where = f"{BASE}/skills/{asked.skill}/revisions/{digest}"
    return _received(asked, received, Location=where)


async def _submission(given: Administered, body: NewRevisionBody) -> Submission:
    if body.url:
        async with _published(given) as published:
            return await published.submission(
                body.url, registration=body.registration, endpoint=body.endpoint
            )
    return Submission(
        body.manifest.encode(), registration=body.registration, endpoint=body.endpoint
    )


def _received(asked: Asked, received: Received, **headers: str) -> Answer:
    revision = received.revision
    answer = _skill_answer(
        asked, received.skill, change=received.change, findings=revision.findings
    )
    return Answer(answer.status, answer.body, {**answer.headers, **headers})


async def _remove(given: Administered, asked: Asked) -> Answer:
    await given.registry.remove(asked.skill, order=asked.order)
    return Answer(204)


async def _approve(given: Administered, asked: Asked) -> Answer:
    body: ApproveBody = asked.body
    record = await given.registry.approve(
        asked.skill, asked.digest, order=asked.order, waivers=body.waivers
    )
    return _skill_answer(asked, record)


async def _trusted(given: Administered, asked: Asked) -> Answer:
    verb = getattr(given.registry, asked.route.name)
    return _skill_answer(asked, await verb(asked.skill, asked.digest, order=asked.order))


async def _operated(given: Administered, asked: Asked) -> Answer:
    verb = getattr(given.registry, asked.route.name)
    return _skill_answer(asked, await verb(asked.skill, order=asked.order))


async def _rollback(given: Administered, asked: Asked) -> Answer:
    body: RollbackBody = asked.body
    record = await given.registry.rollback(asked.skill, body.revision, order=asked.order)
    return _skill_answer(asked, record)


async def _grants(given: Administered, asked: Asked) -> Answer:
    body: GrantsBody = asked.body
    grants = [grant.grant() for grant in body.grants]
    record = await given.registry.set_grants(asked.skill, grants, order=asked.order)
    return _skill_answer(asked, record)


async def _refresh(given: Administered, asked: Asked) -> Answer:
    if asked.order.dry_run:
        raise BadInput("a refresh has no dry run: see the diff of what it brings", code="bad-query")
    record = await given.registry.ledger.skill(asked.skill)
    if asked.order.expects not in (None, record.version):
        raise VersionConflict("registry-skill", asked.skill)
    async with _published(given) as published:
        found = await published.refresh(asked.skill, order=asked.order)
    return _skill_answer(asked, found.skill, change=found.change, note=found.note)


def _published(given: Administered) -> AbstractAsyncContextManager[Published]:
    if given.published is None:
        raise NotOffered("this host does not fetch manifests")
    return given.published()


async def _ping(given: Administered, asked: Asked) -> Answer:
    await given.registry.ledger.skill(asked.skill)
    if given.ping is None:
        raise NotOffered("this host does not ping skills")
    report = await given.ping(asked.skill, asked.order)
    return _told(HealthBody(health=report.health, at=report.at, note=report.note))


_DEEDS: Mapping[str, Callable[[Administered, Asked], Awaitable[Answer]]] = {
    "openapi": _openapi,
    "list": _list,
    "add": _add,
    "show": _show,
    "remove": _remove,
    "revise": _revise,
    "revision": _revision,
    "raw": _raw,
    "diff": _diff,
    "approve": _approve,
    **dict.fromkeys(("submit", "reject", "revoke"), _trusted),
    **dict.fromkeys(("enable", "disable", "drain", "retire", "quarantine", "release"), _operated),
    "rollback": _rollback,
    "refresh": _refresh,
    "ping": _ping,
    "grants": _grants,
    "allowlist": _allowlist,
    "explain": _explain,
    "audit": _audit,
    "verify": _verify,
}
