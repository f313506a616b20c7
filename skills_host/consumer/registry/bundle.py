"""Skills as one document, from one registry to another: content travels, trust does not."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from skills_host.consumer.registry.intake import Submission
from skills_host.consumer.registry.ledger import Ledger
from skills_host.consumer.registry.lifecycle import revision_of
from skills_host.consumer.registry.records import LanguageFile, Trust
from skills_host.errors import BadInput, RegistryRefused
from skills_host.wire import decode_as, encode

__all__ = ["bundle_of", "submissions_in"]

VERSION = 1


@dataclass(frozen=True, slots=True)
class _File:
    locale: str
    name: str
    url: str
    sha256: str
    content: str
    within: str = ""


@dataclass(frozen=True, slots=True)
class _Skill:
    source: str
    manifest: str
    endpoint: str = ""
    registration: Mapping[str, Any] = field(default_factory=dict)
    languages: tuple[_File, ...] = ()


@dataclass(frozen=True, slots=True)
class _Bundle:
    version: int
    skills: dict[str, _Skill]


async def bundle_of(ledger: Ledger, names: list[str] | None = None) -> bytes:
    """The revision that runs, or the latest valid one, of each skill; None for all of them."""
    records = [record async for record in ledger.every_skill()]
    if names is not None:
        records = [await ledger.skill(name) for name in names]
    skills = {}
    for record in records:
        latest = (Trust.APPROVED, Trust.PENDING, Trust.VALIDATED, Trust.SUPERSEDED)
        state = revision_of(record, record.active, *latest)
        revision = await ledger.revision(record.name, state.digest)
        files = [
            _File(**asdict(f), content=_text(await ledger.blob(record.name, f.sha256)))
            for f in revision.languages
        ]
        skills[record.name] = _Skill(
            revision.source,
            _text(await ledger.blob(record.name, revision.sha256)),
            "" if revision.binding is None else revision.binding.endpoint,
            revision.registration,
            tuple(files),
        )
    return encode(_Bundle(VERSION, skills))


def submissions_in(bundle: bytes) -> dict[str, Submission]:
    """What is to be sent in of each skill of a bundle. Raises `RegistryRefused`."""
    try:
        found = decode_as(bundle, _Bundle)
        if found.version != VERSION:
            raise BadInput
        return {name: _submission(one) for name, one in found.skills.items()}
    except (BadInput, ValueError):
        raise RegistryRefused("not a bundle of skills", code="bad-registration") from None


def _submission(one: _Skill) -> Submission:
    files = tuple(
        (
            LanguageFile(f.locale, f.name, f.url, f.sha256, f.within),
            b64decode(f.content, validate=True),
        )
        for f in one.languages
    )
    raw = b64decode(one.manifest, validate=True)
    return Submission(raw, one.source, one.registration, one.endpoint, languages=files)


def _text(raw: bytes) -> str:
    return b64encode(raw).decode()
