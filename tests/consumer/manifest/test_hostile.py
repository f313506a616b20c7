"""Manifests that mean harm, or are odd by accident: refused with a code, without a crash."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skills_host.consumer.manifest.document import pointer_of
from skills_host.consumer.manifest.model import Profile
from skills_host.consumer.manifest.readers import read
from tests.consumer.manifest.sound import ENDPOINT, codes, data_of
from tests.consumer.manifest.test_quirks import PROTOTYPE, QUIRKS, V1

DEEP = b'{"definitions": ' + b'{"not": ' * 10_000 + b"{}" + b"}" * 10_001


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (data_of() + b" " * 10_000_000, "SKM001"),
        (b"[" * 10_000, "SKM008"),
        (DEEP, "SKM008"),
        (data_of()[:-1] + b', "name": "Other"}', "SKM007"),
        (data_of()[:-1] + b', "n\\u0061me": "Other"}', "SKM007"),
        (
            data_of().replace(b'"msAppId"', b'"endpointUrl": "https://evil.example/", "msAppId"'),
            "SKM007",
        ),
        (data_of(definitions={"a": {"$ref": "http://169.254.169.254/"}}), "SKM406"),
        (data_of(iconUrl="javascript:alert(1)"), "SKM211"),
        (data_of(privacyUrl="data:text/html,x"), "SKM211"),
        (data_of(iconUrl="\tJavaScript:alert(1)"), "SKM211"),
        (data_of(name="${secret}"), "SKM208"),
        (data_of(endpoints=[ENDPOINT] * 2), "SKM309"),
        (
            data_of(activities={f"a{i}": {"type": "message"} for i in range(201)}),
            "SKM404",
        ),
        (data_of(activities={"a": {"type": "event", "name": 5}}), "SKM206"),
    ],
)
def test_a_hostile_manifest_is_refused_with_its_code(data: bytes, code: str) -> None:
    assert code in codes(data)
    assert read(data).manifest is None


def test_a_fault_does_not_repeat_what_it_found() -> None:
    data = data_of(
        endpoints=[ENDPOINT | {"endpointUrl": "https://user:hush@x.example/"}], tags="hush"
    )

    for profile in Profile:
        assert "hush" not in repr(read(data, profile=profile).findings)


def test_so_many_findings_are_told_and_the_errors_first() -> None:
    data = data_of(**{f"x{i}": i for i in range(500)}, version=None)

    findings = read(data).findings

    assert len(findings) == 200
    assert findings[0].code == "SKM205"


SEEDS = [json.loads(data_of()), json.loads(data_of(**PROTOTYPE)), V1]
SEEDS += [
    json.loads(row[1])
    for row in QUIRKS
    if row[0] in ("intents-map", "has-dispatchModels", "array-io")
]
ODD = st.sampled_from(
    ["null", "true", "0", '""', '"#"', "{}", "[]", "[null]", '{"a": null}', '{"$ref": "#/"}']
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A manifest with one to three values anywhere in it replaced, removed or put elsewhere."""
    manifest = json.loads(json.dumps(draw(st.sampled_from(SEEDS))))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(manifest))
        holder, key = draw(st.sampled_from(places))
        if draw(st.booleans()):
            holder[key] = json.loads(draw(ODD))
        elif isinstance(holder, dict):
            holder[draw(st.sampled_from(["$ref", "type", "id", "intents", "x"]))] = holder.pop(key)
        else:
            holder.append(json.loads(json.dumps(holder[key])))
    return json.dumps(manifest).encode()


def _places(value: Any) -> list[tuple[Any, Any]]:
    found = []
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        found.append((value, key))
        if isinstance(inner, dict | list):
            found += _places(inner)
    return found


@settings(max_examples=100)
@given(mutated(), st.sampled_from(list(Profile)))
def test_a_mutated_manifest_crashes_no_reader(data: bytes, profile: Profile) -> None:
    reading = read(data, profile=profile)

    assert (reading.manifest is None) == bool(reading.errors)
    for finding in reading.findings:
        assert finding.line >= 1 and finding.column >= 1
        assert finding.pointer == "" or finding.pointer.startswith("/")


def test_a_pointer_is_escaped() -> None:
    assert pointer_of(("a/b", "~", 0)) == "/a~1b/~0/0"
