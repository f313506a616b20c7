"""A skill manifest as this host understands it, whatever generation it was written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = [
    "Declared",
    "Endpoint",
    "Finding",
    "Generation",
    "LanguageModel",
    "Manifest",
    "Profile",
    "Reading",
    "Severity",
]


class Generation(StrEnum):
    """The published generations of the manifest, oldest first."""

    V1 = "v1"
    PROTOTYPE_FIRST = "1.0-prototype-first"
    PROTOTYPE = "1.0-prototype"
    V2_0_0 = "2.0.0"
    V2_0_1 = "2.0.1"
    V2_1_PREVIEW_0 = "2.1.preview-0"
    V2_1_PREVIEW_1 = "2.1.preview-1"
    V2_1 = "2.1"
    V2_2 = "2.2"


class Profile(StrEnum):
    """By whose rules a manifest is judged.

    `strict` is the published schema of the generation that a manifest declares, formats asserted;
    `compat` what this host takes; `copilot-studio` the same, and what Copilot Studio refuses.
    """

    STRICT = "strict"
    COMPAT = "compat"
    COPILOT_STUDIO = "copilot-studio"


class Severity(StrEnum):
    """What a finding means: not valid, mend it soon, or good to know."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a manifest: a stable code, where it is, and what mends it.

    `pointer` is an RFC 6901 pointer into the manifest as it was written; line and column (in
    characters) begin at 1.
    """

    code: str
    severity: Severity
    pointer: str
    line: int
    column: int
    message: str
    fix: str

    @property
    def is_error(self) -> bool:
        """True if it makes the manifest invalid."""
        return self.severity is Severity.ERROR


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a skill listens, and under which app id; the app id is a canonical UUID."""

    name: str
    url: str
    app_id: str
    protocol: str = "BotFrameworkV3"
    description: str = ""


@dataclass(frozen=True, slots=True)
class Declared:
    """An activity that a skill takes or sends.

    `value` and `result` are JSON Schemas (draft-07) as their bytes in the manifest; references in
    them are relative to the manifest. None where nothing is said.
    """

    type: str
    name: str = ""
    description: str = ""
    value: bytes | None = field(default=None, repr=False)
    result: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """What recognises a skill's utterances in one locale; `url` may be relative."""

    name: str
    url: str
    content_type: str = "application/lu"
    description: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a skill says of itself; at least one endpoint, all in a protocol that this host speaks.

    `activities` and `sends` are by the names that the manifest gives them; a manifest without
    `activities` takes messages. `intents` are those of the language models that concern a root;
    none means all. `definitions` are the bytes of the object that `#/definitions/` leads into.
    """

    id: str
    name: str
    version: str
    description: str
    publisher: str
    endpoints: tuple[Endpoint, ...]
    generation: Generation = Generation.V2_2
    activities: Mapping[str, Declared] = field(default_factory=dict)
    sends: Mapping[str, Declared] = field(default_factory=dict)
    languages: Mapping[str, tuple[LanguageModel, ...]] = field(default_factory=dict)
    intents: tuple[str, ...] = ()
    definitions: bytes | None = field(default=None, repr=False)
    tags: tuple[str, ...] = ()
    icon_url: str = ""
    privacy_url: str = ""
    copyright: str = ""
    license: str = ""

    def takes(self, kind: str, name: str = "") -> Declared | None:
        """What is declared about an activity of this type and name that it takes, if anything."""
        return _declared(self.activities, kind, name)

    def sent(self, kind: str, name: str = "") -> Declared | None:
        """What is declared about an activity that the skill sends, if anything."""
        return _declared(self.sends, kind, name)


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading a manifest; there is one exactly where no finding is an error."""

    manifest: Manifest | None
    findings: tuple[Finding, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that make it invalid."""
        return tuple(finding for finding in self.findings if finding.is_error)


def _declared(activities: Mapping[str, Declared], kind: str, name: str) -> Declared | None:
    for declared in activities.values():
        if declared.type == kind and (not declared.name or declared.name == name):
            return declared
    return None
