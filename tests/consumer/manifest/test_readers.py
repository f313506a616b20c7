"""Reading manifests: what is taken, what is refused by name, and our own templates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skills_host.consumer.manifest.addresses import PRIVATE_NETWORKS
from skills_host.consumer.manifest.model import Endpoint
from skills_host.consumer.manifest.readers import MANIFEST_BYTES, read, read_manifest, rendered
from skills_host.errors import SettingsError
from tests.documents import members, written

APP_ID = "a0000000-0000-4000-8000-000000000001"
TEMPLATES = sorted((Path(__file__).parents[3] / "manifests").glob("*.json"))
ENDPOINT = {
    "name": "default",
    "protocol": "BotFrameworkV3",
    "endpointUrl": "https://skill.example/api/messages",
    "msAppId": APP_ID.upper(),
}
MANIFEST = {
    "$schema": "https://schemas.botframework.com/schemas/skills/v2.2/skill-manifest.json",
    "$id": "echo",
    "name": "Echo",
    "version": "1.0",
    "publisherName": "Us",
    "description": "Repeats",
    "endpoints": [ENDPOINT],
}


def data_of(**changes: Any) -> bytes:
    """A manifest with members changed; None removes one."""
    found = {k: v for k, v in (MANIFEST | changes).items() if v is not None}
    return json.dumps(found).encode()


def with_endpoint(**changes: Any) -> bytes:
    """A manifest whose only endpoint differs."""
    endpoint = {k: v for k, v in (ENDPOINT | changes).items() if v is not None}
    return data_of(endpoints=[endpoint])


def fault(data: bytes) -> str:
    """Pointer and code of the first error that a manifest is refused with."""
    with pytest.raises(SettingsError) as caught:
        read_manifest(data, source="echo.json")
    errors = read(data, dev=True, networks=PRIVATE_NETWORKS).errors
    first = errors[0]
    assert str(caught.value) == (
        f"echo.json: {first.pointer}: {first.message} "
        f"({first.code}, line {first.line}, column {first.column})"
    )
    return f"{first.pointer} {first.code}"


# What is taken


def test_a_manifest_is_read() -> None:
    manifest = read_manifest(data_of(), source="echo.json")

    assert (manifest.id, manifest.name, manifest.version) == ("echo", "Echo", "1.0")
    assert (manifest.publisher, manifest.description) == ("Us", "Repeats")
    assert manifest.endpoints == (
        Endpoint("default", "https://skill.example/api/messages", APP_ID),
    )


def test_a_description_is_not_required() -> None:
    assert read_manifest(data_of(description=None), source="x").description == ""


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_is_overlooked(mark: bytes) -> None:
    """Some editors write one."""
    assert read_manifest(mark + data_of(), source="x").id == "echo"


def test_what_is_not_understood_is_ignored() -> None:
    data = data_of(dispatchModels={"languages": {}}, somethingNew=[1])

    assert read_manifest(data, source="x").id == "echo"


def test_the_first_endpoint_that_we_speak_comes_first() -> None:
    other = ENDPOINT | {"name": "other", "protocol": "A2A"}
    varied = ENDPOINT | {"name": "varied", "protocol": "BotframeworkV3"}
    silent = {k: v for k, v in (ENDPOINT | {"name": "silent"}).items() if k != "protocol"}

    manifest = read_manifest(data_of(endpoints=[other, varied, silent]), source="x")

    assert [endpoint.name for endpoint in manifest.endpoints] == ["varied", "silent"]


def test_a_loopback_endpoint_may_be_plain() -> None:
    data = with_endpoint(endpointUrl="http://localhost:3979/api/messages")

    assert read_manifest(data, source="x").endpoints[0].url.startswith("http://localhost")


# What is refused


@pytest.mark.parametrize("name", ["$id", "name", "version", "publisherName"])
def test_a_missing_member_is_named(name: str) -> None:
    (missing,) = read(data_of(**{name: None})).errors

    assert (missing.code, missing.pointer) == ("SKM205", "")
    assert missing.message.endswith(f": {name}")


@pytest.mark.parametrize("name", ["name", "endpointUrl", "msAppId"])
def test_a_missing_member_of_an_endpoint_is_named(name: str) -> None:
    (missing,) = read(with_endpoint(**{name: None})).errors

    assert (missing.code, missing.pointer) == ("SKM205", "/endpoints/0")
    assert missing.message.endswith(f": {name}")


@pytest.mark.parametrize("name", ["$id", "name"])
@pytest.mark.parametrize("value", ["", " ", 5, ["echo"]])
def test_a_malformed_member_is_named(name: str, value: object) -> None:
    code = "SKM207" if isinstance(value, str) else "SKM206"

    assert fault(data_of(**{name: value})) == f"/{name} {code}"


@pytest.mark.parametrize(
    ("endpoints", "code"),
    [(None, " SKM301"), ([], "/endpoints SKM301"), ("x", "/endpoints SKM206")]
    + [(5, "/endpoints SKM206"), ({}, "/endpoints SKM301")],
)
def test_a_manifest_without_endpoints_is_refused(endpoints: Any, code: str) -> None:
    assert fault(data_of(endpoints=endpoints)) == code


@pytest.mark.parametrize("endpoint", [None, 5, "https://skill.example", []])
def test_an_endpoint_is_an_object(endpoint: Any) -> None:
    assert fault(data_of(endpoints=[ENDPOINT, endpoint])) == "/endpoints/1 SKM206"


@pytest.mark.parametrize(
    ("app_id", "code"),
    [
        *[("", "SKM302"), (APP_ID[:-1], "SKM302"), (f"urn:uuid:{APP_ID}", "SKM302")],
        *[(APP_ID.replace("-", ""), "SKM302"), (APP_ID + "\n", "SKM302"), (5, "SKM206")],
        *[("YOUR APP ID", "SKM208"), ("${appId}", "SKM208"), ("<<APP-ID>>", "SKM208")],
        *[("[AZURE BOT APP ID]", "SKM208"), ("{應用}", "SKM208")],
        ("00000000-0000-0000-0000-000000000000", "SKM303"),
    ],
)
def test_a_bad_app_id_is_refused(app_id: Any, code: str) -> None:
    assert fault(with_endpoint(msAppId=app_id)) == f"/endpoints/0/msAppId {code}"


def test_another_protocol_alone_is_refused() -> None:
    assert fault(with_endpoint(protocol="A2A")) == "/endpoints SKM310"


def test_two_endpoints_have_two_names() -> None:
    assert fault(data_of(endpoints=[ENDPOINT, ENDPOINT])) == "/endpoints/1/name SKM309"


def test_a_large_manifest_is_refused() -> None:
    padding = " " * (MANIFEST_BYTES - len(data_of()))

    assert read_manifest(data_of() + padding.encode(), source="x").id == "echo"
    assert fault(data_of() + padding.encode() + b" ") == " SKM001"


@pytest.mark.parametrize("data", [b"[]", b"null", b"5", b'"x"'])
def test_a_manifest_is_an_object(data: bytes) -> None:
    assert fault(data) == " SKM010"


def test_every_error_is_told_at_once() -> None:
    errors = read(with_endpoint(msAppId="", endpointUrl="")).errors

    assert [error.code for error in errors] == ["SKM304", "SKM302"]


def test_a_fault_does_not_repeat_what_it_found() -> None:
    assert "hush" not in fault(with_endpoint(endpointUrl="https://user:hush@x.example/"))


@settings(max_examples=30)
@given(st.binary(max_size=40) | members.map(written).map(str.encode))
def test_any_bytes_are_a_manifest_or_a_named_fault(data: bytes) -> None:
    reading = read(data)

    assert (reading.manifest is None) == bool(reading.errors)


# Our own


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_our_own_manifests_are_sound(path: Path) -> None:
    values = {"endpointUrl": "https://skill.example/api/messages", "appId": APP_ID}
    data = rendered(path.read_text(encoding="utf-8"), values).encode()

    manifest = read_manifest(data, source=path.name)

    assert manifest.id == path.stem
    assert manifest.endpoints[0].app_id == APP_ID
    assert "${" not in data.decode()


def test_every_skill_has_a_manifest() -> None:
    skills = Path(__file__).parents[3] / "skills"
    stems = {path.stem for path in skills.glob("*.py")} - {"__init__"}

    assert {path.stem for path in TEMPLATES} == stems


@pytest.mark.parametrize("value", ['a"b\\c', "a\nb", "${two}", "ünd"])
def test_a_value_is_written_as_json_text(value: str) -> None:
    """Once: what it holds is not filled in again."""
    text = rendered('{"v": "${one}", "w": "${two}"}', {"one": value, "two": "2"})

    assert json.loads(text) == {"v": value, "w": "2"}


def test_a_blank_without_a_value_is_a_mistake() -> None:
    with pytest.raises(KeyError, match="two"):
        rendered("${one} ${two}", {"one": "1"})
