"""Which generation a manifest is of, and its members put into the shape of the newest one.

A converted value keeps the place that it was written at, so that what is said about it later points
into the manifest as its author knows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from skills_host.consumer.manifest.document import Node
from skills_host.consumer.manifest.model import Generation

__all__ = ["PUBLISHED", "declared_generation", "modernised", "schema_address", "shape_of"]

_HOST = "https://schemas.botframework.com/schemas/skills"

PUBLISHED: Mapping[str, Generation] = MappingProxyType(
    {
        f"{_HOST}/skill-manifest-2.0.0.json": Generation.V2_0_0,
        f"{_HOST}/v2.0/skill-manifest.json": Generation.V2_0_1,
        f"{_HOST}/skill-manifest-2.1.preview-0.json": Generation.V2_1_PREVIEW_0,
        f"{_HOST}/skill-manifest-2.1.preview-1.json": Generation.V2_1_PREVIEW_1,
        f"{_HOST}/v2.1/skill-manifest.json": Generation.V2_1,
        f"{_HOST}/v2.2/skill-manifest.json": Generation.V2_2,
    }
)
"""The addresses that `$schema` should be one of; none is ever fetched."""

# Copies of a schema are named by branches, forks and folders of somebody's machine.
_COPIES = tuple(
    (re.compile(pattern), generation)
    for pattern, generation in (
        (r"SkillManifest\.schema-1-0", Generation.PROTOTYPE_FIRST),
        (r"skill-manifest-schema-1-0|skill-manifest-1-0", Generation.PROTOTYPE),
        *(
            (re.escape(address.removeprefix(_HOST)), generation)
            for address, generation in PUBLISHED.items()
        ),
    )
)

_JSON_TYPES = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_OLD_TYPES = frozenset({"Message", "Event", "Invoke"})
_DIRECT = ("name", "description", "iconUrl", "version", "publisherName", "privacyUrl", "tags")


def declared_generation(schema: str | None) -> Generation | None:
    """The generation that a `$schema` names, also by a copy's address; None if it names none."""
    if schema is None:
        return None
    named = (generation for pattern, generation in _COPIES if pattern.search(schema))
    return PUBLISHED.get(schema.rstrip("#")) or next(named, None)


def schema_address(generation: Generation) -> str:
    """The published address of a generation's schema; it must have one."""
    return next(address for address, named in PUBLISHED.items() if named is generation)


def shape_of(root: Node) -> Generation | None:
    """The older generation whose members a manifest has; None where it has none of theirs."""
    members = root.members or {}
    if "endpoints" not in members and members.keys() & {"actions", "endpoint", "msaAppId"}:
        return Generation.V1
    if members.keys() & {"language", "sendActivities"} or _members(members.get("endpoints")):
        kinds = {
            _text(activity, "type") for activity in _members(members.get("activities")).values()
        }
        is_first = bool(kinds & _OLD_TYPES)
        return Generation.PROTOTYPE_FIRST if is_first else Generation.PROTOTYPE
    models = _members(members.get("dispatchModels"))
    languages = _members(models.get("languages")).values()
    if _members(models.get("intents")) or any(
        "id" in _members(model) for models in languages for model in models.elements or ()
    ):
        return Generation.V2_1_PREVIEW_0
    return None


def modernised(root: Node) -> Node:
    """The manifest with the members of generation 2.2, whichever it was written in; pure."""
    if shape_of(root) is Generation.V1:
        root = _from_v1(root)
    members = dict(root.members or {})
    for old, new, convert in _STEPS:
        if old in members and (old == new or new not in members):
            node = members.pop(old)
            members[new] = convert(node)
    return replace(root, members=members)


def _endpoints(node: Node) -> Node:
    """Endpoints by name, as the first prototypes had them, as a list."""
    if node.members is None:
        return node
    elements = tuple(
        replace(endpoint, members={"name": _leaf(endpoint, name), **endpoint.members})
        if endpoint.members is not None
        else endpoint
        for name, endpoint in node.members.items()
    )
    return replace(node, members=None, elements=elements)


def _language(node: Node) -> Node:
    """`language` of the prototypes: an address for each locale."""
    parts = _members(node)
    members = {}
    if _members(parts.get("models")):
        languages = {
            locale: _list(
                url,
                [_object(url, name=_leaf(url, locale), contentType=_leaf(url, _LU), url=url)],
            )
            for locale, url in _members(parts["models"]).items()
        }
        members["languages"] = replace(parts["models"], members=languages)
    if "intents" in parts:
        members["intents"] = parts["intents"]
    return _dispatch(replace(node, members=members))


def _dispatch(node: Node) -> Node:
    """Intents by name, as preview-0 had them, as a list: without any, all of them count."""
    if node.members is None:
        return node
    members = dict(node.members)
    if (intents := members.get("intents")) is not None and intents.members is not None:
        names = [] if "*" in intents.members else list(intents.members.items())
        elements = tuple(_leaf(target, name) for name, target in names)
        members["intents"] = replace(intents, members=None, elements=elements)
    if (languages := members.get("languages")) is not None and languages.members is not None:
        named = {locale: _without_ids(models) for locale, models in languages.members.items()}
        members["languages"] = replace(languages, members=named)
    return replace(node, members=members)


def _without_ids(models: Node) -> Node:
    if models.elements is None:
        return models
    return replace(
        models,
        elements=tuple(
            replace(model, members={k: v for k, v in model.members.items() if k != "id"})
            if model.members is not None
            else model
            for model in models.elements
        ),
    )


def _activities(node: Node) -> Node:
    """Types begin with a small letter, which those of the first prototype did not."""
    if node.members is None:
        return node
    found = {}
    for name, activity in node.members.items():
        kind = _text(activity, "type")
        if activity.members is not None and kind in _OLD_TYPES:
            small = _leaf(activity.members["type"], str(kind).lower())
            activity = replace(activity, members={**activity.members, "type": small})
        found[name] = activity
    return replace(node, members=found)


_LU = "application/lu"
_Convert = Callable[[Node], Node]
_STEPS: tuple[tuple[str, str, _Convert], ...] = (
    ("endpoints", "endpoints", _endpoints),
    ("language", "dispatchModels", _language),
    ("dispatchModels", "dispatchModels", _dispatch),
    ("activities", "activities", _activities),
    ("sendActivities", "activitiesSent", _activities),
)


def _from_v1(root: Node) -> Node:
    """The Virtual Assistant's manifest: one endpoint, and actions instead of activities."""
    old = root.members or {}
    members = {name: old[name] for name in _DIRECT if name in old}
    if "id" in old:
        members["$id"] = old["id"]
    for name in ("version", "publisherName"):
        members.setdefault(name, _leaf(root, ""))
    endpoint = {"endpointUrl": old.get("endpoint"), "msAppId": old.get("msaAppId")}
    if given := {name: node for name, node in endpoint.items() if node is not None}:
        at = next(iter(given.values()))
        members["endpoints"] = _list(at, [_object(at, name=_leaf(at, "default"), **given)])
    actions = old["actions"].elements or () if "actions" in old else ()
    if activities := dict(filter(None, map(_action, actions))):
        members["activities"] = replace(old["actions"], members=activities, elements=None)
    intents = [intent for action in actions for intent in _intents(action)]
    if intents:
        listed = _list(old["actions"], list({node.leaf: node for node in intents}.values()))
        members["dispatchModels"] = _object(old["actions"], intents=listed)
    return replace(root, members=members)


def _action(action: Node) -> tuple[str, Node] | None:
    """An action as an activity: an event if an event triggers it, a message otherwise."""
    parts = _members(action)
    name, definition = _text(action, "id"), _members(parts.get("definition"))
    if not name:
        return None
    members = {}
    if "description" in definition:
        members["description"] = definition["description"]
    if slots := _slots(definition.get("slots")):
        members["value"] = slots
    triggers = _members(definition.get("triggers"))
    events = triggers["events"].elements or () if "events" in triggers else ()
    event = next((_text(node, "name") or node.text for node in events), None)
    kind = {"type": _leaf(action, "message")}
    if event:
        kind = {"type": _leaf(action, "event"), "name": _leaf(action, event)}
    return name, _object(action, **kind, **members)


def _slots(slots: Node | None) -> Node | None:
    """The slots of an action as a schema of its value."""
    properties = {}
    for slot in (slots.elements or ()) if slots is not None else ():
        types = [kind.text for kind in _elements(slot, "types") if kind.text in _JSON_TYPES]
        schema = {"type": _leaf(slot, types[0])} if len(types) == 1 else {}
        if name := _text(slot, "name"):
            properties[name] = _object(slot, **schema)
    if slots is None or not properties:
        return None
    return _object(slots, type=_leaf(slots, "object"), properties=_object(slots, **properties))


def _intents(action: Node) -> list[Node]:
    """The intents that trigger an action: the part of `file#Intent` behind the mark."""
    definition = _members(_members(action).get("definition"))
    sources = _elements(definition.get("triggers"), "utteranceSources")
    named = [node for source in sources for node in _elements(source, "source")]
    return [
        _leaf(node, node.text.partition("#")[2]) for node in named if node.text and "#" in node.text
    ]


def _members(node: Node | None) -> Mapping[str, Node]:
    return {} if node is None or node.members is None else node.members


def _elements(node: Node | None, name: str) -> tuple[Node, ...]:
    found = _members(node).get(name)
    return () if found is None else found.elements or ()


def _text(node: Node, name: str) -> str | None:
    found = _members(node).get(name)
    return None if found is None else found.text


def _leaf(at: Node, text: str) -> Node:
    return replace(at, members=None, elements=None, leaf=text)


def _list(at: Node, elements: list[Node]) -> Node:
    return replace(at, members=None, elements=tuple(elements), leaf=None)


def _object(at: Node, **members: Node) -> Node:
    return replace(at, members=members, elements=None, leaf=None)
