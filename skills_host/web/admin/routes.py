"""The one table of the REST API's routes: what registers them, guards them and describes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from skills_host.consumer.registry.records import Role
from skills_host.consumer.registry.roles import ROLES
from skills_host.errors import SkillsHostError
from skills_host.web.admin.bodies import (
    AllowlistBody,
    ApproveBody,
    AuditPage,
    DiffBody,
    ExplainBody,
    ExplainedBody,
    GrantsBody,
    HealthBody,
    NewRevisionBody,
    NewSkillBody,
    ReasonBody,
    RevisionBody,
    RollbackBody,
    SkillBody,
    SkillPage,
    VerifiedBody,
)
from skills_host.web.guard import WrongMethod

__all__ = ["BASE", "PATTERNS", "ROUTES", "Route", "found_at"]

BASE = "/admin/v1"
PATTERNS: Mapping[str, str] = MappingProxyType(
    {"skill": r"[a-z0-9][a-z0-9_.-]{0,63}", "digest": r"[0-9a-f]{4,64}"}
)
PAGED = ("limit", "after")


@dataclass(frozen=True, slots=True)
class Route:
    """One route; `verb` names the roles that may, in the registry's table.

    `changes` says that something is done, `guarded` that If-Match has to say to what. Without an
    `answer` model, it is bytes of another media type, or nothing (204).
    """

    name: str
    method: str
    path: str
    verb: str
    summary: str
    body: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    status: int = 200
    query: tuple[str, ...] = ()
    changes: bool = False
    guarded: bool = False
    tagged: bool = False

    @property
    def roles(self) -> frozenset[Role]:
        """The roles of which one is needed."""
        return ROLES[self.verb]

    @property
    def needs_body(self) -> bool:
        """True if there is a member without a default."""
        members = self.body.model_fields.values() if self.body else ()
        return any(member.is_required() for member in members)

    @property
    def ids(self) -> tuple[str, ...]:
        """The names of the ids in its path."""
        return tuple(re.findall(r"{(\w+)}", self.path))

    def match(self, path: str) -> dict[str, str] | None:
        """The ids in a path, if it is one of this route's."""
        pattern = re.sub(r"{(\w+)}", lambda m: f"(?P<{m[1]}>{PATTERNS[m[1]]})", self.path)
        match = re.fullmatch(pattern, path, re.ASCII)
        return None if match is None else match.groupdict()


def _change(
    name: str, path: str, summary: str, body: type[BaseModel] = ReasonBody, **more: Any
) -> Route:
    """A change of a skill that is there; `more` are members that differ from the usual."""
    usual = Route(
        name, "POST", path, name, summary, body, SkillBody, changes=True, guarded=True, tagged=True
    )
    return replace(usual, **more)


_SKILL = "/skills/{skill}"
_REVISION = "/skills/{skill}/revisions/{digest}"

ROUTES: tuple[Route, ...] = (
    Route("openapi", "GET", "/openapi.json", "read", "This document"),
    Route("list", "GET", "/skills", "read", "Skills by name", answer=SkillPage, query=PAGED),
    Route(
        "add",
        "POST",
        "/skills",
        "add",
        "Register a skill with its first revision",
        body=NewSkillBody,
        answer=SkillBody,
        status=201,
        changes=True,
        tagged=True,
    ),
    Route("show", "GET", _SKILL, "read", "A skill", answer=SkillBody, tagged=True),
    _change(
        "remove",
        _SKILL,
        "Forget a skill that is not in use",
        method="DELETE",
        answer=None,
        status=204,
        tagged=False,
    ),
    _change(
        "revise",
        f"{_SKILL}/revisions",
        "Send in a revision; what runs does not change",
        NewRevisionBody,
        status=201,
    ),
    Route("revision", "GET", _REVISION, "read", "A revision", answer=RevisionBody, tagged=True),
    Route("raw", "GET", f"{_REVISION}/raw", "read", "Its very bytes", tagged=True),
    Route(
        "diff",
        "GET",
        f"{_SKILL}/diff",
        "read",
        "Where two revisions differ: by default what runs, and the latest that waits",
        answer=DiffBody,
        query=("from", "to"),
    ),
    _change("submit", f"{_REVISION}:submit", "Put a revision up for approval"),
    _change("approve", f"{_REVISION}:approve", "Approve exactly this revision", ApproveBody),
    _change("reject", f"{_REVISION}:reject", "Turn a revision down"),
    _change("revoke", f"{_REVISION}:revoke", "Never trust a revision again; sessions end"),
    _change("enable", f"{_SKILL}:enable", "Let a skill be used"),
    _change("disable", f"{_SKILL}:disable", "Let a skill not be used for now; sessions end"),
    _change("drain", f"{_SKILL}:drain", "Begin nothing new, go on with what is open"),
    _change("retire", f"{_SKILL}:retire", "Take a skill out of use for good"),
    _change("quarantine", f"{_SKILL}:quarantine", "Keep a skill from users until it is released"),
    _change("release", f"{_SKILL}:release", "Take a skill out of quarantine"),
    _change("rollback", f"{_SKILL}:rollback", "Let an earlier revision run again", RollbackBody),
    _change("refresh", f"{_SKILL}:refresh", "Fetch the manifest again; what runs stays"),
    Route(
        "ping",
        "POST",
        f"{_SKILL}:ping",
        "ping",
        "See whether a skill answers",
        answer=HealthBody,
    ),
    Route(
        "grants",
        "PUT",
        f"{_SKILL}/grants",
        "grant",
        "Say who may be routed to a skill, in the place of all that was said",
        body=GrantsBody,
        answer=SkillBody,
        changes=True,
        guarded=True,
        tagged=True,
    ),
    Route("allowlist", "GET", "/allowlist", "audit", "Who may now", answer=AllowlistBody),
    Route(
        "explain",
        "POST",
        "/route:explain",
        "read",
        "Which skill words would go to, and why",
        body=ExplainBody,
        answer=ExplainedBody,
    ),
    Route("audit", "GET", "/audit", "audit", "What was done", answer=AuditPage, query=PAGED),
    Route("verify", "GET", "/audit:verify", "audit", "Follow the whole trail", answer=VerifiedBody),
)


def found_at(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """The route at a path below the base, and the ids in it. Pure.

    Raises `SkillsHostError` (`not-found`) and `WrongMethod`.
    """
    fitting = [(route, ids) for route in ROUTES if (ids := route.match(path)) is not None]
    if not fitting:
        raise SkillsHostError(code="not-found")
    for route, ids in fitting:
        if route.method == method:
            return route, ids
    raise WrongMethod(route.method for route, _ in fitting)
