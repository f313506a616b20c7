"""Mending a manifest where only one thing can be meant, and writing it in the newest generation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from skills_host.consumer.manifest.document import BYTE_ORDER_MARK, Document, Node, scan
from skills_host.consumer.manifest.generations import modernised, schema_address
from skills_host.consumer.manifest.members import (
    ENDPOINT_MEMBERS,
    LINKS,
    ROOT_MEMBERS,
    meant_by,
)
from skills_host.consumer.manifest.model import Generation
from skills_host.wire import encode, indented

__all__ = ["fixed", "upgraded"]

_MENDED = {"SKM005": "a comment removed", "SKM006": "a trailing comma removed"}


@dataclass(frozen=True, slots=True)
class _Edit:
    """A part of a text that is replaced, and why."""

    start: int
    end: int
    text: str
    why: str


def fixed(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """The manifest with what is mechanical mended, and what that was; the rest stays as written."""
    done = ["the byte order mark removed"] if data.startswith(BYTE_ORDER_MARK) else []
    data = data.removeprefix(BYTE_ORDER_MARK)
    for find in (_in_text, _in_members):
        document = scan(data)
        edits = sorted(find(document), key=lambda edit: edit.start)
        text = document.text
        for edit in reversed(edits):
            text = text[: edit.start] + edit.text + text[edit.end :]
        if edits:
            data = text.encode()
            done += [edit.why for edit in edits]
    return data, tuple(done)


def upgraded(data: bytes) -> tuple[bytes, tuple[str, ...]] | None:
    """The manifest in generation 2.2, and the members that had no place there.

    None for what is not a JSON object.
    """
    document = scan(data)
    root = document.root
    is_clean = all(fault.code == "SKM003" for fault in document.faults)
    if root is None or root.members is None or not is_clean:
        return None
    found = modernised(root).value
    known = {name: found[name] for name in ROOT_MEMBERS if name in found}
    lost = [name for name in found if name not in ROOT_MEMBERS]
    for activity in _objects(known.get("activities")) + _objects(known.get("activitiesSent")):
        if activity.get("type") == "message":
            activity.pop("name", None)
    newest = {"$schema": schema_address(Generation.V2_2)}
    newest |= {name: value for name, value in known.items() if name != "$schema"}
    return indented(encode(newest)) + b"\n", tuple(lost)


def _in_text(document: Document) -> Iterator[_Edit]:
    # A fault that ends the reading leaves the rest as it is.
    for fault in document.faults:
        if fault.code in _MENDED:
            end = fault.offset + fault.length
            yield _Edit(fault.offset, end, "", _MENDED[fault.code])


def _in_members(document: Document) -> Iterator[_Edit]:
    root = document.root
    if root is None or root.members is None:
        return
    yield from _renamed(document, root, ROOT_MEMBERS)
    endpoints = root.members.get("endpoints")
    for endpoint in (endpoints.elements or ()) if endpoints else ():
        yield from _renamed(document, endpoint, ENDPOINT_MEMBERS)
    for name in LINKS:
        link = root.members.get(name)
        if link is not None and link.text is not None and link.text != link.text.strip():
            text = encode(link.text.strip()).decode()
            yield _Edit(link.start, link.end, text, f"blanks around {name} removed")
    for member in ("activities", "activitiesSent"):
        activities = root.members.get(member)
        for activity in ((activities.members or {}) if activities else {}).values():
            yield from _unnamed(activity)


def _renamed(document: Document, node: Node, known: tuple[str, ...]) -> Iterator[_Edit]:
    """Names that differ from a known one in case or a dollar sign only."""
    members = node.members or {}
    taken = set(members)
    for name, value in members.items():
        meant = meant_by(name, known)
        if meant is None or meant in taken or value.key is None:
            continue
        taken.add(meant)
        end = document.text.index('"', value.key + 1) + 1
        yield _Edit(value.key, end, f'"{meant}"', f"{name} renamed to {meant}")


def _unnamed(activity: Node) -> Iterator[_Edit]:
    """The name of a message activity, with one of the commas around it."""
    members = activity.members or {}
    kind = members.get("type")
    if kind is None or kind.text != "message" or "name" not in members:
        return
    order = sorted(members.values(), key=lambda node: node.start)
    place = next(i for i, node in enumerate(order) if node is members["name"])
    name = order[place]
    start = name.start if name.key is None else name.key
    if place + 1 < len(order):
        after = order[place + 1]
        start, end = start, after.start if after.key is None else after.key
    else:
        start, end = order[place - 1].end, name.end
    yield _Edit(start, end, "", "the name of a message activity removed")


def _objects(value: Any) -> list[dict[str, Any]]:
    found = value.values() if isinstance(value, dict) else ()
    return [item for item in found if isinstance(item, dict)]
