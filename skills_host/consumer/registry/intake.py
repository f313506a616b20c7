"""From the bytes that somebody sends in to a revision: read, checked, named by digest. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

import rfc8785
from pydantic import ValidationError

from skills_host.consumer.manifest.codes import CODES
from skills_host.consumer.manifest.model import Endpoint, Finding, Manifest, Reading
from skills_host.consumer.manifest.readers import read
from skills_host.consumer.registry.records import Binding, LanguageFile, Note, Revision
from skills_host.errors import BadInput, RegistryRefused
from skills_host.settings import SkillSettings
from skills_host.wire import decode, encode

__all__ = [
    "InvalidManifest",
    "Read",
    "Submission",
    "UNDERSTOOD",
    "canonical_sha256",
    "note_of",
    "registered_settings",
    "revision_of_submission",
    "same_origin",
    "settings_submission",
]

UPLOAD = "upload"
UNDERSTOOD = "application/lu"
"""The content type of the language models that are read."""
_ELSEWHERE = ("manifest", "endpoint", "app_id")
# Files of this machine are not for somebody to name who may only send in a skill.
_FILES = ("example_files",)


Read = Callable[[bytes], Reading]
"""Reads a manifest, by the rules for where skills may be."""


class InvalidManifest(RegistryRefused):
    """A manifest with errors; `findings` say which and where."""

    code = "manifest-invalid"

    def __init__(self, findings: Sequence[Note]) -> None:
        super().__init__("; ".join(note.message for note in findings[:3]))
        self.findings = tuple(findings)


@dataclass(frozen=True, slots=True)
class Submission:
    """What is sent in: a manifest's bytes, where they are from, and what stands beside them.

    `source` is an address, or any other word where nothing can be fetched again. `registration`
    has the members of `[skills.NAME]` but where the skill is; `endpoint` names one of the
    manifest's, empty for its first. `languages` come with their bytes, and `notes` say what was
    left out of them. What is `configured` has its manifest read already, and may name files of
    this machine.
    """

    raw: bytes = field(repr=False)
    source: str = UPLOAD
    registration: Mapping[str, Any] = field(default_factory=dict)
    endpoint: str = ""
    etag: str = ""
    languages: tuple[tuple[LanguageFile, bytes], ...] = field(default=(), repr=False)
    manifest: Manifest | None = field(default=None, repr=False)
    configured: bool = False
    notes: tuple[Note, ...] = ()

    @property
    def sha256(self) -> str:
        """The digest of the bytes."""
        return sha256(self.raw).hexdigest()


def settings_submission(
    name: str, given: SkillSettings, raw: bytes = b"", manifest: Manifest | None = None
) -> Submission:
    """A skill of the settings as it is sent in by them; `raw` are the bytes of its manifest."""
    registration = given.model_dump(mode="json", exclude_defaults=True, exclude=set(_ELSEWHERE))
    if manifest is not None:
        source = f"configuration:{given.manifest}"
        return Submission(raw, source, registration, manifest=manifest, configured=True)
    assert given.endpoint is not None and given.app_id is not None  # noqa: S101 - of the settings
    endpoint = Endpoint("default", given.endpoint, given.app_id)
    made = encode({"endpoint": given.endpoint, "app_id": given.app_id})
    manifest = Manifest(name, given.title or name, "", given.description or "", "", (endpoint,))
    return Submission(made, "configuration", registration, manifest=manifest, configured=True)


def revision_of_submission(
    name: str, sent: Submission, *, now: float, read: Read = read
) -> Revision:
    """The revision that a submission makes; without a binding if its manifest has errors.

    Raises `RegistryRefused` (`bad-registration`) for what stands beside the manifest.
    """
    reading = Reading(sent.manifest) if sent.manifest else read(sent.raw)
    manifest = reading.manifest
    registration = dict(sent.registration)
    binding = None
    if manifest is not None:
        endpoint = _endpoint(manifest, sent.endpoint)
        given = registered_settings(registration, endpoint, configured=sent.configured)
        binding = Binding(endpoint.name, endpoint.url, endpoint.app_id, tuple(given.tenants))
    files = tuple(file for file, _ in sent.languages)
    notes = (*map(_note, reading.findings), *sent.notes)
    unread = not (files or sent.notes or sent.configured)
    if manifest is not None and unread and _names_files(manifest):
        notes = (*notes, note_of("SKM214", "/dispatchModels/languages"))
    return Revision(
        digest=_digest(sent, registration, binding),
        skill=name,
        source=sent.source,
        received=now,
        sha256=sent.sha256,
        canonical=canonical_sha256(sent.raw),
        binding=binding,
        manifest=manifest,
        registration=registration,
        languages=files,
        findings=notes,
        etag=sent.etag,
    )


def registered_settings(
    registration: Mapping[str, Any], endpoint: Endpoint, *, configured: bool = False
) -> SkillSettings:
    """A registration document as the settings of a skill that is at an endpoint.

    Only `configured` ones may name files. Raises `RegistryRefused` (`bad-registration`).
    """
    for member in (*_ELSEWHERE, *(() if configured else _FILES)):
        if registration.get(member):
            raise RegistryRefused(f"{member}: not for a registration", code="bad-registration")
    try:
        return SkillSettings.model_validate(
            {**registration, "endpoint": endpoint.url, "app_id": endpoint.app_id}
        )
    except ValidationError as exc:
        fault = exc.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise RegistryRefused(f"{where}: {fault['msg']}", code="bad-registration") from None


def canonical_sha256(raw: bytes) -> str:
    """The digest of a JSON document's canonical form (RFC 8785); empty if it has none."""
    try:
        return sha256(rfc8785.dumps(decode(raw.removeprefix(b"\xef\xbb\xbf")))).hexdigest()
    except (BadInput, UnicodeDecodeError, rfc8785.CanonicalizationError, RecursionError):
        return ""


def same_origin(source: str, url: str) -> bool:
    """True if a manifest's address and an endpoint share scheme, host and port.

    What was not fetched from an address has no origin to compare.
    """
    ours, theirs = urlsplit(source), urlsplit(url)
    if ours.scheme not in ("https", "http"):
        return True
    return (ours.scheme, ours.netloc.lower()) == (theirs.scheme, theirs.netloc.lower())


def note_of(code: str, pointer: str, message: str = "") -> Note:
    """What is to be said of a submission beside what its manifest's text shows."""
    entry = CODES[code]
    said = f"{entry.meaning}: {message}" if message else entry.meaning
    return Note(code, entry.severity, pointer, said, fix=entry.fix)


def _names_files(manifest: Manifest) -> bool:
    return any(
        model.content_type == UNDERSTOOD
        for models in manifest.languages.values()
        for model in models
    )


def _note(finding: Finding) -> Note:
    return Note(
        finding.code,
        finding.severity,
        finding.pointer,
        finding.message,
        finding.line,
        finding.column,
        finding.fix,
    )


def _endpoint(manifest: Manifest, name: str) -> Endpoint:
    for endpoint in manifest.endpoints:
        if name in ("", endpoint.name):
            return endpoint
    raise RegistryRefused(f"the manifest has no endpoint {name[:64]!r}", code="bad-registration")


def _digest(sent: Submission, registration: Mapping[str, Any], binding: Binding | None) -> str:
    said = decode(encode(registration))
    for member in _FILES:
        if member in said:
            # The same in every folder that the settings are in.
            said[member] = [PurePath(name).name for name in said[member]]
    whole = {
        "manifest": sent.sha256,
        "registration": said,
        "endpoint": "" if binding is None else binding.endpoint,
        "languages": sorted(
            " ".join((f.locale, f.name, f.sha256, *filter(None, [f.within])))
            for f, _ in sent.languages
        ),
    }
    return sha256(rfc8785.dumps(whole)).hexdigest()
