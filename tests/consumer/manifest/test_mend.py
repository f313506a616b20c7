"""Mending what is mechanical, and writing any manifest in the newest generation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skills_host.consumer.manifest.mend import fixed, upgraded
from skills_host.consumer.manifest.model import Generation, Profile
from skills_host.consumer.manifest.readers import read
from tests.consumer.manifest.sound import ENDPOINT, codes, data_of
from tests.consumer.manifest.test_quirks import COPY, MODEL, PREVIEW_0, PROTOTYPE, QUIRKS, V1

MESSY = """\
{
  // who it is
  "Schema": "https://schemas.botframework.com/schemas/skills/v2.2/skill-manifest.json",
  "id": "echo", /* not $id */
  "name": "Echo // no comment",
  "version": "1.0",
  "publishername": "Us",
  "iconUrl": " https://skill.example/icon.png ",
  "endpoints": [
    {
      "name": "default",
      "endpointurl": "https://skill.example/api/messages",
      "msAppID": "a0000000-0000-4000-8000-000000000001",
    },
  ],
  "activities": {
    "a": {"type": "message", "name": "a", "description": "1.10"},
    "b": {"name": "b", "type": "message"},
    "c": {"type": "message", "description": "C", "name": "c"},
    "d": {"type": "event", "name": "d"}
  },
}
"""


def test_what_is_mechanical_is_mended_and_the_rest_left_as_written() -> None:
    data, done = fixed(b"\xef\xbb\xbf" + MESSY.encode())

    assert read(data, profile=Profile.STRICT).findings == ()
    assert codes(data) == []
    assert b'"description": "1.10"' in data and b"// no comment" in data
    assert done == (
        "the byte order mark removed",
        *["a comment removed"] * 2,
        *["a trailing comma removed"] * 3,
        "Schema renamed to $schema",
        "id renamed to $id",
        "publishername renamed to publisherName",
        "blanks around iconUrl removed",
        "endpointurl renamed to endpointUrl",
        "msAppID renamed to msAppId",
        *["the name of a message activity removed"] * 3,
    )


@pytest.mark.parametrize("data", [data_of(), b"", b"[", b"\xff", b"5", b'{"a": }'])
def test_what_needs_no_mending_or_cannot_be_mended_stays(data: bytes) -> None:
    assert fixed(data) == (data, ())


def test_a_name_that_is_taken_is_not_given_twice() -> None:
    data = data_of(id="other", ID="third")

    assert fixed(data) == (data, ())


@pytest.mark.parametrize("row", QUIRKS, ids=[row[0] for row in QUIRKS])
def test_mending_twice_changes_nothing(row: Any) -> None:
    once, _ = fixed(row[1])

    assert fixed(once) == (once, ())


@pytest.mark.parametrize(
    "data",
    [
        data_of(),
        data_of(_schema=COPY),
        data_of(**PROTOTYPE),
        b"\xef\xbb\xbf" + data_of(activities={"a": {"type": "message", "name": "a"}}),
        data_of(
            _schema=PREVIEW_0,
            dispatchModels={
                "languages": {"en": [MODEL | {"id": "m"}]},
                "intents": {"A": "#/activities/message"},
            },
        ),
        json.dumps(V1).encode(),
    ],
)
def test_any_generation_is_written_in_the_newest(data: bytes) -> None:
    found = upgraded(data)
    assert found is not None

    reading = read(found[0], profile=Profile.STRICT)

    assert reading.findings == ()
    assert reading.manifest is not None
    assert reading.manifest.generation is Generation.V2_2
    before = read(data).manifest
    assert before is not None
    for name in ("id", "name", "version", "endpoints", "activities", "sends", "intents"):
        assert getattr(reading.manifest, name) == getattr(before, name)


def test_numbers_stay_as_they_are() -> None:
    data = data_of(definitions={"d": {"maximum": "@"}}).replace(b'"@"', b"12345678901234567890")

    found = upgraded(data)

    assert found is not None
    assert b"12345678901234567890" in found[0]


def test_what_has_no_place_is_named() -> None:
    found = upgraded(data_of(vendor=1, endpoints=[ENDPOINT]))

    assert found is not None
    assert found[1] == ("vendor",)


@pytest.mark.parametrize("data", [b"", b"[]", data_of()[:-1], b"// x\n" + data_of()])
def test_what_is_no_object_cannot_be_upgraded(data: bytes) -> None:
    assert upgraded(data) is None
