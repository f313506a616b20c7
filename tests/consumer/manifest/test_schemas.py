"""Schemas of skills: nothing is looked up, nothing blows up, and what is not safe is refused."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skills_host.consumer.manifest.readers import read
from skills_host.consumer.manifest.schemas import Schema, SchemaRefused, Schemas, validator_of
from tests.consumer.manifest.sound import data_of


def schema_of(schema: Any, **definitions: Any) -> Schema:
    """A schema compiled as the value of an activity beside these definitions."""
    manifest = {"activities": {"a": {"value": schema}}, "definitions": definitions}
    return Schemas(manifest).compiled(("activities", "a", "value"))


def refusal(schema: Any, **definitions: Any) -> tuple[str, str]:
    """Code and pointer that a manifest is refused with for a schema of one of its activities."""
    event = {"type": "event", "name": "e", "description": "E", "value": schema}
    first = read(data_of(activities={"a": event}, definitions=definitions)).errors[0]
    return first.code, first.pointer


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening socket that fails the test if anybody has connected to it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


# What is checked


@pytest.mark.parametrize(
    ("schema", "fits", "does_not"),
    [
        (True, [1, None, {}], []),
        (False, [], [1, None, {}]),
        ({}, [1, None], []),
        ({"type": "object", "required": ["a"]}, [{"a": 1}], [{}, 1]),
        ({"$ref": "#/definitions/n"}, [1], ["1"]),
        ({"$ref": "#/definitions/n", "type": "string"}, [1], ["1"]),
        ({"properties": {"$ref": {"$ref": "#/definitions/n"}}}, [{"$ref": 1}], [{"$ref": "x"}]),
        ({"items": {"$ref": "#/definitions/n"}}, [[1, 2], []], [["1"]]),
        ({"items": [{"type": "string"}], "additionalItems": False}, [["a"]], [["a", 1], [1]]),
        ({"enum": [{"$ref": "http://127.0.0.1/"}, 5]}, [{"$ref": "http://127.0.0.1/"}], [4]),
        ({"const": {"$ref": "x"}}, [{"$ref": "x"}], [{}]),
        ({"dependencies": {"a": ["b"]}}, [{"b": 1}, {"a": 1, "b": 1}], [{"a": 1}]),
        ({"patternProperties": {"^x": {"type": "null"}}}, [{"xa": None, "b": 1}], [{"xa": 1}]),
        ({"if": {"type": "string"}, "then": {"maxLength": 1}}, [5, "a"], ["ab"]),
        ({"format": "date"}, ["2026-01-31"], ["31.1.", "2026-02-31"]),
        ({"pattern": "^(a+)+$"}, ["aaa"], ["aab"]),
        ({"$ref": "#/definitions/a~1b%20c/items"}, [True], [1]),
        ({"$schema": "http://127.0.0.1:9/x", "$id": "http://h/x", "type": "null"}, [None], [1]),
    ],
)
def test_a_value_is_checked(schema: Any, fits: list[Any], does_not: list[Any]) -> None:
    definitions = {"n": {"type": "number"}, "a/b c": {"items": {"type": "boolean"}}}
    compiled = schema_of(schema, **definitions)

    assert [compiled.complaint(value) for value in fits] == [None] * len(fits)
    assert all(compiled.complaint(value) for value in does_not)


def test_a_complaint_says_what_is_asked_but_not_what_is_there() -> None:
    compiled = schema_of({"properties": {"a": {"items": {"maxLength": 3}}}})

    assert compiled.complaint({"a": ["abc", "hush"]}) == (
        "it does not satisfy /properties/a/items/maxLength"
    )


# What is refused


def spellings(port: int) -> list[str]:
    """A reference to a listener in every way that some resolver would follow."""
    host = f"127.0.0.1:{port}"
    return [
        *(f"http://{host}/x", f"HTTP://{host}/x", f"http://{host}/x#/definitions/a"),
        *(f"//{host}/x", f"\\\\{host}\\x", f"http:\\\\{host}", f" http://{host}/x"),
        *(f"https://{host}/x", f"ftp://{host}/x", f"ws://{host}", f"http:{host}"),
    ]


@pytest.mark.parametrize("index", range(11))
@pytest.mark.parametrize(
    "at", ["{}", '{{"properties": {{"a": {}}}}}', '{{"allOf": [{}]}}', '{{"not": {}}}']
)
def test_a_reference_out_of_the_manifest_is_never_followed(
    listener: socket.socket, index: int, at: str
) -> None:
    reference = spellings(listener.getsockname()[1])[index]
    schema = json.loads(at.format(json.dumps({"$ref": reference})))

    code, pointer = refusal(schema)

    assert code in ("SKM405", "SKM406")
    assert pointer.endswith("/$ref")
    with pytest.raises(SchemaRefused):
        schema_of(schema)


def test_the_base_of_a_schema_is_not_believed(listener: socket.socket) -> None:
    """`$id` would turn a harmless-looking reference into an address."""
    base = f"http://127.0.0.1:{listener.getsockname()[1]}/"

    assert refusal({"$id": base, "$ref": "x.json"})[0] == "SKM406"
    inner = {"$id": base, "properties": {"a": {"$ref": "#/definitions/n"}}}
    assert schema_of(inner, n={"type": "null"}).complaint({"a": None}) is None


def test_a_validator_by_itself_looks_nothing_up(listener: socket.socket) -> None:
    with pytest.raises(Exception, match="nothing is looked up"):
        validator_of({"$ref": f"http://127.0.0.1:{listener.getsockname()[1]}/x"})


def test_a_file_is_never_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('{"type": "null"}')

    for reference in (secret.as_uri(), str(secret), f"file:{secret}", f"file://localhost{secret}"):
        assert refusal({"$ref": reference}) == ("SKM406", "/activities/a/value/$ref")


@pytest.mark.parametrize(
    "reference", ["#/definitions/none", "#", "", "#/", "#name", "#/name", "#/activities"]
)
def test_a_reference_leads_to_a_schema(reference: str) -> None:
    code = "SKM406" if reference == "" else "SKM407"

    assert refusal({"$ref": reference})[0] == code


@pytest.mark.parametrize(
    "pattern",
    [
        "(?=a)b",
        "(?<!a)b",
        "(a)\\1",
        "(?>a+)b",
        "(a{1,1000}){1,1000}",
        "a" * 1001,
        "(?:a{999}){999}",
    ],
)
def test_a_pattern_without_linear_time_is_refused(pattern: str) -> None:
    assert refusal({"pattern": pattern})[0] in ("SKM405", "SKM408")
    assert refusal({"patternProperties": {pattern: {}}})[0] in ("SKM405", "SKM408")
    with pytest.raises(SchemaRefused):
        schema_of({"items": {"pattern": pattern}})


def test_a_pattern_that_backtracks_elsewhere_is_no_trouble() -> None:
    """Where `re` would take longer than the world is old."""
    compiled = schema_of({"pattern": "^(a+)+$"})

    assert compiled.complaint("a" * 50_000 + "!") is not None


@pytest.mark.parametrize(
    ("schema", "definitions"),
    [
        ({"$ref": "#/definitions/a"}, {"a": {"$ref": "#/definitions/a"}}),
        (
            {"$ref": "#/definitions/a"},
            {"a": {"$ref": "#/definitions/b"}, "b": {"not": {"$ref": "#/definitions/a"}}},
        ),
        ({"properties": {"a": {"$ref": "#/activities/a/value"}}}, {}),
    ],
)  # fmt: skip
def test_a_schema_that_contains_itself_is_refused(schema: Any, definitions: Any) -> None:
    assert refusal(schema, **definitions)[0] == "SKM409"


def test_doubling_references_are_refused() -> None:
    """Thirty small definitions that would become a thousand million schemas."""
    doubled = {f"d{i}": {"allOf": [{"$ref": f"#/definitions/d{i + 1}"}] * 2} for i in range(30)}

    assert refusal({"$ref": "#/definitions/d0"}, **doubled, d30={})[0] == "SKM409"


def test_a_long_chain_of_references_is_refused() -> None:
    chain = {f"d{i}": {"not": {"$ref": f"#/definitions/d{i + 1}"}} for i in range(500)}

    assert refusal({"$ref": "#/definitions/d0"}, **chain, d500={})[0] == "SKM409"


def test_a_wide_schema_is_refused() -> None:
    wide = {"properties": {f"p{i}": {"type": "string"} for i in range(2100)}}

    assert refusal(wide) == ("SKM409", "/activities/a/value/properties/p1999")


def test_all_schemas_of_a_manifest_share_a_budget() -> None:
    wide: Any = {"properties": {f"p{i}": {} for i in range(1900)}}
    events = {
        f"e{i}": {"type": "event", "name": f"e{i}", "value": {"$ref": "#/definitions/w"}}
        for i in range(30)
    }

    errors = read(data_of(activities=events, definitions={"w": wide})).errors

    assert {error.code for error in errors} == {"SKM409"}
    assert len(errors) >= 15


@pytest.mark.parametrize(
    "schema",
    [5, None, [], "x", {"type": "date"}, {"type": 5}, {"properties": []}, {"required": "a"}]
    + [{"$ref": 5}, {"items": 5}, {"minLength": -1}, {"pattern": "("}, {"allOf": []}],
)
def test_what_is_no_schema_is_refused(schema: Any) -> None:
    code, pointer = refusal(schema)

    assert code == "SKM405"
    assert pointer.startswith("/activities/a/value")
