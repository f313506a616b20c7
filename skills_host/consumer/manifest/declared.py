"""The schemas that a manifest declares: whether they may be used, told where the cause is."""

from __future__ import annotations

from collections.abc import Iterator

from skills_host.consumer.manifest.document import Node, Path, found_at
from skills_host.consumer.manifest.findings import Findings
from skills_host.consumer.manifest.schemas import SchemaRefused, Schemas

__all__ = ["schemas_checked"]

_Fault = tuple[str, Path, str]


def schemas_checked(root: Node, findings: Findings) -> None:
    """Say what keeps the schemas of a manifest (in the newest shape) from being used."""
    schemas = Schemas(root.value)
    paths = list(_declared(root))
    faults = [fault for path in paths for fault in _malformed(schemas, path)]
    # What is not even a schema has no references that could be followed.
    faults = faults or [fault for path in paths for fault in _refused(schemas, path)]
    for code, cause, words in dict.fromkeys(faults):
        findings.at(found_at(root, cause), code, words, fix=_hint(cause))


def _declared(root: Node) -> Iterator[Path]:
    members = root.members or {}
    definitions = members.get("definitions")
    for name in (definitions.members or {}) if definitions else ():
        yield ("definitions", name)
    for direction in ("activities", "activitiesSent"):
        activities = members.get(direction)
        for name, activity in ((activities.members or {}) if activities else {}).items():
            for member in ("value", "resultValue"):
                if member in (activity.members or {}):
                    yield (direction, name, member)


def _malformed(schemas: Schemas, path: Path) -> Iterator[_Fault]:
    for cause, words in schemas.form_faults(path):
        yield "SKM405", cause, words


def _refused(schemas: Schemas, path: Path) -> Iterator[_Fault]:
    try:
        if path[0] == "definitions":
            schemas.expanded(path)
        else:
            schemas.compiled(path)
    except SchemaRefused as exc:
        yield exc.code, exc.path, str(exc)


def _hint(cause: Path) -> str:
    """What people mean who put a reference among the properties."""
    is_misplaced = cause[-2:] == ("properties", "$ref")
    return 'take "$ref" out of "properties" and put it beside' if is_misplaced else ""
