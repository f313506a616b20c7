"""What a skill has declared about values, ready to check them; compiled when first needed."""

from __future__ import annotations

from typing import Any

from skills_host.consumer.manifest.model import Manifest
from skills_host.consumer.manifest.schemas import VALUE_BYTES, Schema, Schemas
from skills_host.errors import BadInput
from skills_host.wire import decode

__all__ = ["Contract", "contract_of"]

_Key = tuple[str, str]


class Contract:
    """The schemas of one manifest by type and name of the activity; `contract_of` makes it.

    Values are given as their bytes; each method says what a value does not satisfy, in the
    schema's words, or None.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._taken: dict[_Key, Schema] | None = None
        self._results: dict[_Key, Schema] = {}
        self._sent: dict[_Key, Schema] = {}

    def taken(self, kind: str, name: str, value: bytes | None) -> str | None:
        """About the value of what is sent to the skill."""
        return _complaint(self._compiled().get((kind, name)), value)

    def sent(self, kind: str, name: str, value: bytes | None) -> str | None:
        """About the value of what the skill sends."""
        self._compiled()
        return _complaint(self._sent.get((kind, name)), value)

    def result(self, kind: str, name: str, value: bytes | None) -> str | None:
        """About what the skill answers an activity with."""
        self._compiled()
        return _complaint(self._results.get((kind, name)), value)

    def end(self, value: bytes | None) -> str | None:
        """About what the skill ends with: the result of any of its activities will do."""
        self._compiled()
        complaints = [_complaint(schema, value) for schema in self._results.values()]
        return None if value is None or None in complaints else next(iter(complaints), None)

    def _compiled(self) -> dict[_Key, Schema]:
        if self._taken is None:
            found = self._manifest
            schemas = Schemas(
                {
                    "definitions": {} if found.definitions is None else decode(found.definitions),
                    "activities": _values(found, "activities"),
                    "activitiesSent": _values(found, "activitiesSent"),
                }
            )
            for name, one in found.sends.items():
                if one.value is not None:
                    path = ("activitiesSent", name, "value")
                    self._sent[one.type, one.name] = schemas.compiled(path)
            taken = {}
            for name, one in found.activities.items():
                if one.value is not None:
                    taken[one.type, one.name] = schemas.compiled(("activities", name, "value"))
                if one.result is not None:
                    path = ("activities", name, "resultValue")
                    self._results[one.type, one.name] = schemas.compiled(path)
            self._taken = taken
        return self._taken


def contract_of(manifest: Manifest | None) -> Contract | None:
    """The contract of a manifest that was read without an error; None if it has no schemas."""
    if manifest is None:
        return None
    declared = (*manifest.activities.values(), *manifest.sends.values())
    has_any = any(one.value is not None or one.result is not None for one in declared)
    return Contract(manifest) if has_any else None


def _values(manifest: Manifest, direction: str) -> dict[str, dict[str, Any]]:
    declared = manifest.activities if direction == "activities" else manifest.sends
    return {
        name: {
            member: decode(raw)
            for member, raw in (("value", one.value), ("resultValue", one.result))
            if raw is not None
        }
        for name, one in declared.items()
    }


def _complaint(schema: Schema | None, raw: bytes | None) -> str | None:
    if schema is None:
        return None
    if raw is None or raw == b"null":
        # What is left out may be left out if nothing in it is required.
        return schema.complaint({}) and schema.complaint(None) and "there is no value"
    if len(raw) > VALUE_BYTES:
        return f"a value of more than {VALUE_BYTES} bytes is not looked at"
    try:
        return schema.complaint(decode(raw))
    except (BadInput, ValueError):
        return "the value cannot be looked into"
