"""What real manifests are found to have, each reproduced, and what two profiles make of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skills_host.consumer.manifest.model import Generation, Profile
from skills_host.consumer.manifest.readers import read
from tests.consumer.manifest.sound import (
    APP_ID,
    ENDPOINT,
    codes,
    data_of,
    schema_url,
    with_endpoint,
)

ZEROS = "00000000-0000-0000-0000-000000000000"
V2_0 = schema_url("skill-manifest-2.0.0.json")
V2_1 = schema_url("v2.1/skill-manifest.json")
PREVIEW_0 = schema_url("skill-manifest-2.1.preview-0.json")
PREVIEW_1 = schema_url("skill-manifest-2.1.preview-1.json")
COPY = "https://raw.githubusercontent.example/fork/master/schemas/skills/skill-manifest-2.0.0.json"
MODEL = {"name": "m", "contentType": "application/lu", "url": "https://skill.example/m.lu"}
OLD_MODEL = MODEL | {"id": "m"}
EVENT = {"type": "event", "name": "book", "description": "Books"}


def models(*locales: str, model: Any = MODEL, **more: Any) -> dict[str, Any]:
    """`dispatchModels` with one model for each locale."""
    return {"languages": {locale: [model] for locale in locales}, **more}


def activities(**more: Any) -> dict[str, Any]:
    """An event with other members than usual."""
    return {"book": EVENT | more}


def old(**changes: Any) -> bytes:
    """A manifest of 2.0.0."""
    return data_of(_schema=V2_0, **changes)


V1 = {
    "id": "echo",
    "name": "Echo",
    "description": "Repeats",
    "msaAppId": APP_ID,
    "endpoint": "https://skill.example/api/skill/messages",
    "authenticationConnections": [],
    "actions": [
        {
            "id": "echo_say",
            "definition": {
                "description": "Says it",
                "slots": [{"name": "what", "types": ["string"]}],
                "triggers": {"events": [{"name": "say"}]},
            },
        },
        {
            "id": "echo_talk",
            "definition": {
                "slots": [],
                "triggers": {"utteranceSources": [{"locale": "en", "source": ["Echo#Talk"]}]},
            },
        },
    ],
}
PROTOTYPE: dict[str, Any] = {
    "_schema": "https://raw.example/prototypes/skill-manifest-schema-1-0-0.json",
    "endpoints": {"production": {k: v for k, v in ENDPOINT.items() if k != "name"}},
    "language": {
        "models": {"en": "https://skill.example/en.lu"},
        "intents": {"Help": "#/activities/message"},
    },
    "sendActivities": {"told": {"type": "event", "name": "told"}},
}

# A quirk, the manifest that has it, what `strict` says (nothing: valid) and what `compat` says.
QUIRKS: list[tuple[str, bytes, list[str], list[str]]] = [
    ("none", data_of(), [], []),
    ("crlf", json.dumps(json.loads(data_of()), indent=1).replace("\n", "\r\n").encode(), [], []),
    ("utf8-bom", b"\xef\xbb\xbf" + data_of(), ["SKM003"], ["SKM003"]),
    ("comments", b"// a skill\n" + data_of(), ["SKM005"], ["SKM005"]),
    ("trailing-comma", data_of()[:-1] + b",}", ["SKM006"], ["SKM006"]),
    ("invalid-json", data_of()[:-1], ["SKM004"], ["SKM004"]),
    ("nonpublished-$schema", data_of(_schema=COPY), [], ["SKM201"]),
    ("no-$schema", data_of(_schema=None), ["SKM101"], ["SKM201"]),
    ("no-$id (has 'id')", data_of(_id=None, id="x"), ["SKM101", "SKM102"], ["SKM204", "SKM205"]),
    ("missing-version", data_of(version=None), ["SKM101"], ["SKM205"]),
    ("missing-publisherName", data_of(publisherName=None), ["SKM101"], ["SKM205"]),
    ("missing-endpoints", data_of(endpoints=None), ["SKM101"], ["SKM301"]),
    (
        "singular-endpoint",
        json.dumps(V1).encode(),
        ["SKM108"],
        ["SKM203"],
    ),
    ("version-not-semver", data_of(version="one"), [], []),
    ("$id-not-botskills-identifier", data_of(_id="my skill-1"), [], []),
    ("unknown-top-level", data_of(vendor=1), ["SKM102"], ["SKM204"]),
    (
        "prototype-only-props",
        data_of(**PROTOTYPE),
        ["SKM102", "SKM103"],
        ["SKM201", "SKM203"],
    ),
    ("multi-endpoint", data_of(endpoints=[ENDPOINT, ENDPOINT | {"name": "b"}]), [], []),
    ("http-endpoint", with_endpoint(endpointUrl="http://skill.example/"), [], ["SKM305"]),
    ("localhost-endpoint", with_endpoint(endpointUrl="http://localhost:3978/"), [], ["SKM305"]),
    ("tunnel-endpoint", with_endpoint(endpointUrl="https://a1.tunnel.example/"), [], []),
    ("empty-endpointUrl", with_endpoint(endpointUrl=""), ["SKM104"], ["SKM304"]),
    ("placeholder-endpointUrl", with_endpoint(endpointUrl="{u}/a"), ["SKM104"], ["SKM208"]),
    ("zero-guid-msAppId", with_endpoint(msAppId=ZEROS), [], ["SKM303"]),
    ("empty-msAppId", with_endpoint(msAppId=""), ["SKM104"], ["SKM302"]),
    ("non-guid-msAppId", with_endpoint(msAppId="123-b33a9-4b2bb"), ["SKM104"], ["SKM302"]),
    ("placeholder-msAppId", with_endpoint(msAppId="{YOUR_APPID}"), ["SKM104"], ["SKM208"]),
    ("protocol=TEST", with_endpoint(protocol="TEST"), [], ["SKM310"]),
    ("empty-endpoint-name", with_endpoint(name=""), [], ["SKM207"]),
    (
        "lower-case-endpointurl",
        with_endpoint(endpointUrl=None, endpointurl="https://skill.example/"),
        ["SKM101", "SKM102"],
        ["SKM204", "SKM205"],
    ),
    ("empty-iconUrl", data_of(iconUrl=""), [], []),
    ("empty-iconUrl in 2.0.0", old(iconUrl=""), ["SKM104"], []),
    ("relative-iconUrl", data_of(iconUrl="icon.png"), [], ["SKM210"]),
    ("placeholder-iconUrl", data_of(iconUrl="{u}/i.png"), ["SKM104"], ["SKM208"]),
    ("empty-privacyUrl", old(privacyUrl=""), ["SKM104"], []),
    ("relative-privacyUrl", data_of(privacyUrl="./p"), [], ["SKM210"]),
    ("blank-privacyUrl", old(privacyUrl=" https://p.example/"), ["SKM104"], ["SKM213"]),
    ("placeholder-privacyUrl", data_of(privacyUrl="{u}/p"), ["SKM104"], ["SKM208"]),
    ("no-activities", data_of(activities=None), [], ["SKM209"]),
    ("activity-without-description", data_of(activities={"m": {"type": "message"}}), [], []),
    (
        "message-with-name",
        data_of(activities={"m": {"type": "message", "name": "m"}}),
        ["SKM102"],
        ["SKM402"],
    ),
    ("event-without-name", data_of(activities={"b": {"type": "event"}}), ["SKM101"], ["SKM401"]),
    ("other-activity-type", data_of(activities={"t": {"type": "typing", "x": 1}}), [], []),
    (
        "other-activity-type in 2.0.0",
        old(activities={"t": {"type": "conversationUpdate"}}),
        ["SKM105"],
        [],
    ),
    ("unheard-activity-type", data_of(activities={"t": {"type": "wave"}}), ["SKM105"], ["SKM403"]),
    ("has-activitiesSent", data_of(activitiesSent=activities()), [], []),
    ("has-activitiesSent(empty)", data_of(activitiesSent={}), [], []),
    (
        "invoke in activitiesSent",
        data_of(activitiesSent=activities(type="invoke")),
        ["SKM105"],
        [],
    ),
    ("has-dispatchModels", data_of(dispatchModels=models("en")), [], []),
    ("has-dispatchModels in 2.0.0", old(dispatchModels=models("en")), ["SKM102"], []),
    ("intents-array", data_of(dispatchModels=models("en", intents=["Book"])), [], []),
    (
        "intents-map",
        data_of(
            _schema=PREVIEW_0,
            dispatchModels=models("en", model=OLD_MODEL, intents={"B": "#/a"}),
        ),
        [],
        ["SKM203"],
    ),
    (
        "intents-map+wildcard in 2.1",
        data_of(_schema=V2_1, dispatchModels=models("en", intents={"*": "#/activities/message"})),
        ["SKM103"],
        ["SKM202", "SKM203"],
    ),
    ("locales(3)", data_of(dispatchModels=models("en", "de", "fr")), [], []),
    ("mixed-case-locale", data_of(dispatchModels=models("en-US", "de-de")), [], []),
    (
        "lu-file-url",
        data_of(_schema=PREVIEW_1, dispatchModels=models("en", model=MODEL | {"url": "file://m.lu"})),
        [],
        ["SKM212"],
    ),
    (
        "lu-relative-url",
        data_of(dispatchModels=models("en", model=MODEL | {"url": "./m.lu"})),
        [],
        ["SKM210"],
    ),
    (
        "model-contentType=application/qna",
        data_of(dispatchModels=models("en", model=MODEL | {"contentType": "application/qna"})),
        [],
        [],
    ),
    (
        "dangling-$ref",
        data_of(activities=activities(value={"$ref": "#/definitions/none"})),
        [],
        ["SKM407"],
    ),
    (
        "empty-resultValue-schema",
        data_of(activities=activities(resultValue={})),
        [],
        [],
    ),
    (
        "type-bool",
        data_of(definitions={"d": {"properties": {"ok": {"type": "bool"}}}}),
        ["SKM107"],
        ["SKM405"],
    ),
    (
        "$ref-in-properties",
        data_of(definitions={"d": {"properties": {"$ref": "#/definitions/d"}}}),
        ["SKM107"],
        ["SKM405"],
    ),
    (
        "array-io",
        data_of(activities=activities(value={"properties": {"a": {"type": "array"}}})),
        [],
        [],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "strict", "compat"), [row[1:] for row in QUIRKS], ids=[row[0] for row in QUIRKS]
)
def test_a_quirk_is_told(data: bytes, strict: list[str], compat: list[str]) -> None:
    assert codes(data, Profile.STRICT) == strict
    assert codes(data) == compat


@pytest.mark.parametrize(
    ("data", "strict"), [row[1:3] for row in QUIRKS], ids=[row[0] for row in QUIRKS]
)
def test_strict_is_valid_exactly_where_no_error_is_told(data: bytes, strict: list[str]) -> None:
    reading = read(data, profile=Profile.STRICT)

    assert (reading.manifest is not None) == (not [code for code in strict if code != "SKM003"])


def test_the_virtual_assistants_actions_become_activities() -> None:
    manifest = read(json.dumps(V1).encode()).manifest

    assert manifest is not None
    assert manifest.generation is Generation.V1
    assert (manifest.id, manifest.endpoints[0].app_id) == ("echo", APP_ID)
    say, talk = manifest.activities["echo_say"], manifest.activities["echo_talk"]
    assert (say.type, say.name, say.description) == ("event", "say", "Says it")
    assert json.loads(say.value or b"") == {
        "type": "object",
        "properties": {"what": {"type": "string"}},
    }
    assert (talk.type, talk.name, talk.value) == ("message", "", None)
    assert manifest.intents == ("Talk",)


def test_a_prototypes_members_get_their_later_names() -> None:
    manifest = read(data_of(**PROTOTYPE)).manifest

    assert manifest is not None
    assert manifest.generation is Generation.PROTOTYPE
    assert manifest.endpoints[0].name == "production"
    assert manifest.languages["en"][0].url == "https://skill.example/en.lu"
    assert manifest.intents == ("Help",)
    assert manifest.sent("event", "told") is not None


def test_the_first_prototypes_types_had_capitals() -> None:
    data = data_of(
        _schema="file:///C:/prototypes/SkillManifest.schema-1-0-0.json",
        endpoints=PROTOTYPE["endpoints"],
        activities={"m": {"type": "Message"}, "e": {"type": "Event", "name": "E"}},
    )

    manifest = read(data).manifest

    assert codes(data, Profile.STRICT) == []
    assert manifest is not None
    assert manifest.generation is Generation.PROTOTYPE_FIRST
    assert manifest.takes("event", "E") and manifest.takes("message")


@pytest.mark.parametrize(
    ("intents", "kept"),
    [({"A": "#/x", "B": "#/y"}, ("A", "B")), ({"A": "#/x", "*": "#/y"}, ())],
)
def test_intents_by_name_become_a_list_unless_all_are_meant(
    intents: dict[str, str], kept: tuple[str, ...]
) -> None:
    data = data_of(_schema=PREVIEW_0, dispatchModels=models("en", model=OLD_MODEL, intents=intents))

    manifest = read(data).manifest

    assert manifest is not None
    assert manifest.intents == kept
    assert manifest.languages["en"][0].name == "m"


@pytest.mark.parametrize(
    ("name", "generation"),
    [
        ("skill-manifest-2.0.0.json", Generation.V2_0_0),
        ("v2.0/skill-manifest.json", Generation.V2_0_1),
        ("skill-manifest-2.1.preview-1.json", Generation.V2_1_PREVIEW_1),
        ("v2.1/skill-manifest.json", Generation.V2_1),
        ("v2.2/skill-manifest.json", Generation.V2_2),
        ("v2.2/skill-manifest.json#", Generation.V2_2),
    ],
)
def test_the_schema_names_the_generation(name: str, generation: Generation) -> None:
    for schema in (schema_url(name), f"https://fork.example/schemas/skills/{name}"):
        manifest = read(data_of(_schema=schema)).manifest
        assert manifest is not None
        assert manifest.generation is generation
