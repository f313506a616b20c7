"""What has changed between two revisions of a skill, and how much it matters. Pure.

Closed by default: what is not known to be harmless counts as a matter of security.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from skills_host.consumer.registry.records import Revision
from skills_host.errors import BadInput
from skills_host.wire import decode, encode

__all__ = ["ChangeClass", "Difference", "differences", "gravest"]

MOST = 500
SHOWN = 200  # characters of a value


class ChangeClass(StrEnum):
    """How much a change matters: only the bytes, what is shown, where words go, or who may what."""

    BYTES = "bytes"
    DESCRIPTIVE = "descriptive"
    ROUTING = "routing"
    SECURITY = "security"


_ORDER = tuple(ChangeClass)
_D, _R = ChangeClass.DESCRIPTIVE, ChangeClass.ROUTING
_MANIFEST: Mapping[str, ChangeClass] = MappingProxyType(
    {
        "version": _D,
        "copyright": _D,
        "license": _D,
        "privacyUrl": _D,
        "iconUrl": _D,
        "tags": _D,
        "name": _R,
        "description": _R,
        "dispatchModels": _R,
    }
)
_REGISTRATION: Mapping[str, ChangeClass] = MappingProxyType(
    dict.fromkeys(
        (
            "title",
            "description",
            "texts",
            "aliases",
            "phrases",
            "patterns",
            "examples",
            "interruption",
            "help",
            "max_turns",
            "seconds",
            "idle_seconds",
            "total_seconds",
        ),
        _R,
    )
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two revisions differ; `before` and `after` as JSON, empty where absent.

    `pointer` leads into the manifest, or with `registration`, `languages` or `binding` before it
    into what stands beside it.
    """

    pointer: str
    kind: ChangeClass
    before: str
    after: str


def differences(
    before: Revision, raw_before: bytes, after: Revision, raw_after: bytes
) -> tuple[Difference, ...]:
    """Where two revisions differ, at most 500 places; `raw_…` are their manifests as sent in."""
    found = [
        *_walked("", _read(raw_before), _read(raw_after)),
        *_walked("registration", before.registration, after.registration),
        *_walked("languages", _languages(before), _languages(after)),
        *_walked("binding", _binding(before), _binding(after)),
    ]
    if not found and raw_before != raw_after:
        found = [Difference("", ChangeClass.BYTES, "", "")]
    return tuple(found[:MOST])


def gravest(found: tuple[Difference, ...]) -> ChangeClass | None:
    """The class of the change as a whole; None if there is none."""
    return max((one.kind for one in found), key=_ORDER.index, default=None)


def _read(raw: bytes) -> Any:
    try:
        return decode(raw.removeprefix(b"\xef\xbb\xbf"))
    except (BadInput, UnicodeDecodeError):
        return raw.decode("utf-8", "replace")


def _languages(revision: Revision) -> dict[str, str]:
    return {
        " ".join((file.locale, *filter(None, [file.within]), file.name)): file.sha256
        for file in revision.languages
    }


def _binding(revision: Revision) -> Any:
    return decode(encode(revision.binding))


def _walked(pointer: str, before: Any, after: Any) -> Iterator[Difference]:
    if type(before) is type(after) and before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys((*before, *after)):
            inner = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
            yield from _walked(inner, before.get(name), after.get(name))
        return
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _walked(f"{pointer}/{index}", old, new)
        return
    yield Difference(pointer, _class_of(pointer), _shown(before), _shown(after))


def _class_of(pointer: str) -> ChangeClass:
    where, *path = pointer.split("/")
    if where == "languages":
        return ChangeClass.ROUTING
    if where == "binding" or not path:
        return ChangeClass.SECURITY
    if where == "registration":
        return _REGISTRATION.get(path[0], ChangeClass.SECURITY)
    if path[0] == "activities" and path[2:] == ["description"]:
        return ChangeClass.ROUTING
    if path[0] == "endpoints" and path[2:] == ["description"]:
        return ChangeClass.DESCRIPTIVE
    return _MANIFEST.get(path[0], ChangeClass.SECURITY)


def _shown(value: Any) -> str:
    text = "" if value is None else encode(value).decode()
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
