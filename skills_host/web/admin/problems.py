"""Errors of the REST API as problem details (RFC 9457), with our codes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict

from werkzeug.exceptions import HTTPException

from skills_host.admin.idempotency import Answer
from skills_host.auth.denials import DENIALS, Denied
from skills_host.consumer.registry.intake import InvalidManifest
from skills_host.errors import CODES, SkillsHostError
from skills_host.web.admin.bodies import FindingBody, ProblemBody
from skills_host.web.guard import WrongMethod
from skills_host.web.incoming import Outgoing

__all__ = ["MEDIA", "outgoing_of", "problem_of"]

log = logging.getLogger(__name__)

MEDIA = "application/problem+json"
WAIT = "60"
HTTP_CODES: Mapping[int, str] = {408: "slow-body", 413: "too-large"}
TYPE = "urn:skills-host:error:"


def problem_of(error: Exception, *, receipt: str | None = None) -> Answer:
    """The answer that tells of an error; what is not foreseen is logged, and says nothing."""
    if isinstance(error, HTTPException):
        status = error.code or 500
        code = HTTP_CODES.get(status, "internal" if status >= 500 else "bad-json")
        error = SkillsHostError(code=code)
    elif not isinstance(error, SkillsHostError):
        log.error("unforeseen error", exc_info=error)
        error = SkillsHostError()
    elif error.status >= 500 and not isinstance(error, Denied):
        log.error("administration failed: %s", error.code)
    table = DENIALS if isinstance(error, Denied) else CODES
    findings: tuple[FindingBody, ...] = ()
    if isinstance(error, InvalidManifest):
        findings = tuple(FindingBody.model_validate(asdict(note)) for note in error.findings)
    body = ProblemBody(
        type=f"{TYPE}{error.code}",
        title=error.meaning,
        status=error.status,
        detail=str(error),
        code=error.code,
        fix=table[error.code].fix,
        receipt=receipt or "",
        findings=findings,
    )
    return Answer(error.status, body.model_dump_json().encode(), _headers(error), MEDIA)


def outgoing_of(answer: Answer) -> Outgoing:
    """An answer as it goes out: for one reader only, kept nowhere, taken for what it says it is."""
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    body = b"" if answer.status in (204, 304) else answer.body
    return Outgoing(answer.status, body, answer.media, {**answer.headers, **headers})


def _headers(error: SkillsHostError) -> dict[str, str]:
    headers: dict[str, str] = {}
    if isinstance(error, WrongMethod):
        headers["Allow"] = error.allowed
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status == 429:
        headers["Retry-After"] = WAIT
    if error.status == 503:
        headers["Retry-After"] = "1"
    return headers
