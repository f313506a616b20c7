"""What Copilot Studio would refuse or misread, as its documentation and users say (2026)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from skills_host.consumer.manifest.document import Node
from skills_host.consumer.manifest.findings import Findings

__all__ = ["studio_checked"]

STUDIO_BYTES = 500 * 1024
STUDIO_ACTIONS = 100
STUDIO_INPUTS = 25
"""Inputs of an action, and outputs as well; pages of other years name other numbers."""

_SIDES = (("value", "SKM603"), ("resultValue", "SKM604"))


def studio_checked(root: Node, size: int, findings: Findings) -> None:
    """Say what Copilot Studio has against a manifest (in the newest shape) of so many bytes."""
    if size > STUDIO_BYTES:
        findings.at(root, "SKM601")
    activities = _members(root, "activities")
    if len(activities) > STUDIO_ACTIONS:
        findings.at((root.members or {})["activities"], "SKM602")
    _order(root, findings)
    for activity in activities.values():
        parts = activity.members or {}
        if "value" not in parts and "resultValue" not in parts:
            findings.at(activity, "SKM606")
        for member, code in _SIDES:
            if member in parts:
                _side(root, parts[member], code, findings)
    for definition in _members(root, "definitions").values():
        if "required" in (definition.members or {}):
            findings.at(definition, "SKM608", member="required")


def _order(root: Node, findings: Findings) -> None:
    first = list(root.members or {})[:2]
    if set(first) != {"$schema", "$id"}:
        findings.at(root, "SKM609")


def _side(root: Node, schema: Node, code: str, findings: Findings) -> None:
    """The inputs or the outputs of one action."""
    if "$ref" in (schema.members or {}):
        findings.at(schema, "SKM607", member="$ref")
    meant = _meant(root, schema)
    properties = _members(meant, "properties")
    if len(properties) > STUDIO_INPUTS:
        findings.at(schema, code)
    for node in (meant, *(_meant(root, one) for one in properties.values())):
        if node.members is not None and _is_list(node):
            findings.at(node, "SKM605")


def _meant(root: Node, schema: Node) -> Node:
    """What a schema refers to within `definitions`, one step far; itself if it does not."""
    reference = (schema.members or {}).get("$ref")
    text = (reference.text or "") if reference else ""
    return _members(root, "definitions").get(text.removeprefix("#/definitions/"), schema)


def _is_list(schema: Node) -> bool:
    return "array" in _types(schema)


def _types(schema: Node) -> Iterator[str]:
    node = (schema.members or {}).get("type")
    if node is not None:
        yield from (one.text or "" for one in (node.elements or (node,)))


def _members(node: Node, name: str) -> Mapping[str, Node]:
    found = (node.members or {}).get(name)
    return {} if found is None else found.members or {}
