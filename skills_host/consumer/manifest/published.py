"""What the published schema of each generation asks of a manifest, as JSON Schema.

From generation to generation only a few things changed, so a table of differences makes them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from skills_host.consumer.manifest.document import Path
from skills_host.consumer.manifest.model import Generation
from skills_host.consumer.manifest.schemas import validator_of

__all__ = ["Complaint", "complaints", "schema_of"]

Shape = dict[str, Any]

_SCHEMA = "http://json-schema.org/draft-07/schema#"
_HEX = "[0-9A-Fa-f]"
_GUID_END = f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}$"
_REQUIRED = ("$schema", "$id", "name", "version", "publisherName", "endpoints")
_CALLED = ("event", "invoke", "message")
_OTHERS = (
    *("messageReaction", "endOfConversation", "handoff", "typing", "conversationUpdate", "trace"),
    *("installationUpdate", "contactRelationUpdate", "suggestion", "deleteUserData"),
    *("messageUpdate", "messageDelete"),
)


@dataclass(frozen=True, slots=True)
class _Rules:
    """In what the schemas of the generations differ."""

    required: tuple[str, ...] = _REQUIRED
    guid: str | None = f"^{_GUID_END}"
    are_endpoints_named: bool = False
    has_tag_types: bool = False
    link: str = "uri"
    taken: tuple[str, ...] = _CALLED
    sent: tuple[str, ...] | None = None
    others: tuple[str, ...] = ()
    models: tuple[str, ...] | None = None
    are_intents_named: bool = False
    has_language: bool = False


_2_0 = _Rules()
_PREVIEW_0 = _Rules(
    required=_REQUIRED[1:],
    sent=_CALLED,
    models=("id", "name", "contentType", "url"),
    are_intents_named=True,
)
_2_1 = _Rules(
    has_tag_types=True,
    sent=("event", "message"),
    others=_OTHERS,
    models=("name", "contentType", "url"),
)
_RULES = {
    Generation.PROTOTYPE_FIRST: _Rules(
        required=_REQUIRED[1:],
        guid=None,
        are_endpoints_named=True,
        taken=("Event", "Invoke", "Message"),
        sent=("Event", "Invoke", "Message"),
        has_language=True,
    ),
    Generation.PROTOTYPE: _Rules(required=_REQUIRED[1:], guid=_GUID_END),
    Generation.V2_0_0: _2_0,
    Generation.V2_0_1: _2_0,
    Generation.V2_1_PREVIEW_0: _PREVIEW_0,
    Generation.V2_1_PREVIEW_1: _2_1,
    Generation.V2_1: _2_1,
    Generation.V2_2: replace(_2_1, link="uri-reference"),
}


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that a schema has against a manifest: code, place, the name it is about, words."""

    code: str
    path: Path
    member: str | None = None
    message: str = ""


def complaints(value: Any, generation: Generation) -> Iterator[Complaint]:
    """What the published schema of a generation has against a manifest in Python's values."""
    schema = schema_of(generation)
    if schema is None:
        yield Complaint("SKM108", ())
        return
    for error in validator_of(schema).iter_errors(value):
        kind, path, said = error.kind.name, tuple(error.instance_path), error.kind.as_dict()
        if kind == "additionalProperties":
            yield from (Complaint("SKM102", path, name) for name in said["unexpected"])
        elif _is_in_schema(path):
            yield Complaint("SKM107", path)
        else:
            yield Complaint(_CODES.get(kind, "SKM104"), path, message=_words(kind, said))


def schema_of(generation: Generation) -> Shape | None:
    """The JSON Schema (draft-07) of a generation; None for the one that never had any."""
    rules = _RULES.get(generation)
    return None if rules is None else _root(rules)


_CODES = {
    "required": "SKM101",
    "type": "SKM103",
    "enum": "SKM105",
    "minItems": "SKM106",
    "uniqueItems": "SKM106",
    "minProperties": "SKM106",
}


def _words(kind: str, said: Shape) -> str:
    if kind == "required":
        return str(said["property"])
    if kind == "type":
        return "expected " + " or ".join(said["types"])
    return f"expected a {said['format']}" if kind == "format" else ""


def _is_in_schema(path: Path) -> bool:
    """True for what is inside a schema that the manifest gives."""
    if path[:1] == ("definitions",):
        return len(path) > 1
    is_activity = path[:1] in (("activities",), ("activitiesSent",), ("sendActivities",))
    return is_activity and path[2:3] in (("value",), ("resultValue",))


def _root(rules: _Rules) -> Shape:
    text: Shape = {"type": "string"}
    link = {"type": "string", "format": rules.link}
    tags: Shape = {"type": "array", "uniqueItems": True}
    if rules.has_tag_types:
        tags["items"] = text
    members: Shape = {
        "$schema": {"type": "string", "format": "uri"},
        **dict.fromkeys(("$id", "name", "version", "description"), text),
        **dict.fromkeys(("publisherName", "copyright", "license"), text),
        **{"privacyUrl": link, "iconUrl": link, "tags": tags, "endpoints": _endpoints(rules)},
        "activities": _by_name(_activity(rules.taken, rules.others)),
        "definitions": _by_name({"$ref": _SCHEMA}),
    }
    if rules.sent is not None:
        name = "sendActivities" if rules.has_language else "activitiesSent"
        members[name] = _by_name(_activity(rules.sent, rules.others))
    if rules.has_language:
        members["language"] = {"type": "object"}
    if rules.models is not None:
        members["dispatchModels"] = _models(rules, rules.models)
    return _closed(rules.required, members)


def _endpoints(rules: _Rules) -> Shape:
    text: Shape = {"type": "string"}
    app_id = text if rules.guid is None else {"type": "string", "pattern": rules.guid}
    members = {
        **{"protocol": text, "description": text},
        **{"endpointUrl": {"type": "string", "format": "uri"}, "msAppId": app_id},
    }
    if rules.are_endpoints_named:
        return _by_name(_closed(("endpointUrl", "msAppId"), members))
    endpoint = _closed(("name", "endpointUrl", "msAppId"), {"name": text, **members})
    return {"type": "array", "minItems": 1, "uniqueItems": True, "items": endpoint}


def _activity(called: Sequence[str], others: Sequence[str]) -> Shape:
    """An activity: its type says which members it has; others than the called have any."""
    return {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": [*called, *others]}},
        "allOf": [
            {
                "if": {"required": ["type"], "properties": {"type": {"const": kind}}},
                "then": _called(named=kind.lower() != "message"),
            }
            for kind in called
        ],
    }


def _called(*, named: bool) -> Shape:
    text: Shape = {"type": "string"}
    members: Shape = {
        **{"type": text, "description": text},
        **dict.fromkeys(("value", "resultValue"), {"$ref": _SCHEMA}),
    }
    return _closed(("name",), {"name": text, **members}) if named else _closed((), members)


def _models(rules: _Rules, required: Sequence[str]) -> Shape:
    text: Shape = {"type": "string"}
    members: Shape = {
        **dict.fromkeys((*required, "description"), text),
        "url": {"type": "string", "format": rules.link},
    }
    listed = {"type": "array", "minItems": 1, "uniqueItems": True}
    languages = _by_name({**listed, "items": _closed(required, members)})
    intents: Shape = {"type": "array", "uniqueItems": True, "items": text}
    if rules.are_intents_named:
        intents = {
            **_by_name({"type": "string", "format": "uri-reference"}),
            "minProperties": 1,
        }
    return _closed((), {"languages": {**languages, "minProperties": 1}, "intents": intents})


def _by_name(shape: Shape) -> Shape:
    return {"type": "object", "additionalProperties": shape}


def _closed(required: Sequence[str], members: Shape) -> Shape:
    return {
        "type": "object",
        "required": list(required),
        "properties": members,
        "additionalProperties": False,
    }
