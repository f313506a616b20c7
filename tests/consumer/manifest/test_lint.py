"""Findings as text, JSON and SARIF, the table of codes, and the page that is made from it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from skills_host.consumer.manifest.codes import CODES
from skills_host.consumer.manifest.lint import as_json, as_sarif, as_text, code_table
from skills_host.consumer.manifest.model import Profile, Severity
from skills_host.consumer.manifest.readers import read
from tests.consumer.manifest.sound import data_of, with_endpoint
from tests.consumer.manifest.test_quirks import QUIRKS

PAGE = Path(__file__).parents[3] / "docs" / "manifest-codes.md"
HEAD = """\
# What can be said about a manifest

<!-- Made from the table in the code by `python -m tests.consumer.manifest.test_lint`. -->

`skills-host manifest lint` says these; so does the registry. A code means the same for good. Codes
that begin with 1 are those of the profile `strict`, with 6 those of `copilot-studio` alone.

"""
READINGS = {
    "a skill/ü.json": read(with_endpoint(endpointUrl="http://x.example/", msAppId="")),
    "good.json": read(data_of()),
    "warned.json": read(data_of(vendor=1, activities={"m": {"type": "message"}})),
}


def test_the_page_is_that_of_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == HEAD + code_table()


@pytest.mark.parametrize("name", CODES)
def test_every_code_is_explained(name: str) -> None:
    code = CODES[name]

    assert re.fullmatch(r"SKM\d{3}", name)
    assert code.meaning and (code.fix or code.severity is not Severity.ERROR)


def test_every_code_is_given_somewhere() -> None:
    """A code that no module names would be a promise that nobody keeps."""
    folder = Path(__file__).parents[3] / "skills_host" / "consumer"
    texts = [file.read_text(encoding="utf-8") for file in folder.rglob("*.py")]

    assert all(sum(name in text for text in texts) > 1 for name in CODES)


def test_text_has_a_line_for_each_finding_and_a_verdict() -> None:
    lines = list(as_text(READINGS))

    assert lines[0].startswith("a skill/ü.json:1:")
    assert "error SKM305: the endpoint is not https at /endpoints/0/endpointUrl (" in lines[0]
    assert [line for line in lines if line.endswith("valid")] == [
        "a skill/ü.json: not valid",
        "good.json: valid",
        "warned.json: valid",
    ]


def test_json_has_the_findings_with_their_places() -> None:
    first, good, _ = json.loads(json.dumps(as_json(READINGS, profile=Profile.COMPAT)))

    assert (first["valid"], first["generation"]) == (False, None)
    assert {found["code"] for found in first["findings"]} == {"SKM302", "SKM305"}
    assert set(first["findings"][0]) == {
        *("code", "severity", "pointer", "line", "column", "message", "fix")
    }
    assert (good["valid"], good["generation"], good["findings"]) == (True, "2.2", [])


def test_sarif_has_what_its_specification_asks() -> None:
    """Of OASIS SARIF 2.1.0: 3.13 log, 3.14 run, 3.27 result, 3.29 location, 3.30 region."""
    log = json.loads(json.dumps(as_sarif(READINGS)))

    assert log["version"] == "2.1.0"
    assert set(log) == {"$schema", "version", "runs"}
    (run,) = log["runs"]
    assert run["tool"]["driver"]["name"]
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["defaultConfiguration"]["level"] in ("none", "note", "warning", "error")
        assert rule["shortDescription"]["text"]
    assert len(run["results"]) == sum(len(reading.findings) for reading in READINGS.values())
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("none", "note", "warning", "error")
        assert result["message"]["text"]
        (location,) = result["locations"]
        physical = location["physicalLocation"]
        assert re.fullmatch(r"[\w/.%-]+", physical["artifactLocation"]["uri"], re.ASCII)
        assert all(isinstance(n, int) and n >= 1 for n in physical["region"].values())


def test_nothing_found_is_a_run_without_results() -> None:
    (run,) = as_sarif({"good.json": read(data_of())})["runs"]

    assert run["results"] == run["tool"]["driver"]["rules"] == []


# Copilot Studio

WIDE = {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(26)}}
LIST = {"type": "object", "properties": {"a": {"type": "array"}}}


def event(**more: object) -> bytes:
    """A manifest with one event."""
    activity = {"type": "event", "name": "e", "description": "E"} | more
    return data_of(activities={"e": activity}, definitions={"l": LIST, "r": {"required": ["a"]}})


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (data_of(description="x" * 505 * 1024), "SKM601"),
        (data_of(activities={f"a{i}": {"type": "message"} for i in range(101)}), "SKM602"),
        (event(value=WIDE), "SKM603"),
        (event(resultValue=WIDE), "SKM604"),
        (event(value=LIST), "SKM605"),
        (event(value={"type": ["array", "null"]}), "SKM605"),
        (event(resultValue={"$ref": "#/definitions/l"}), "SKM605"),
        (event(), "SKM606"),
        (event(value={"$ref": "#/definitions/l"}), "SKM607"),
        (event(), "SKM608"),
        (data_of(_id=None) + b" ", "SKM609"),
    ],
)
def test_what_copilot_studio_refuses_is_told_only_if_asked(data: bytes, code: str) -> None:
    asked = {finding.code for finding in read(data, profile=Profile.COPILOT_STUDIO).findings}
    usual = {finding.code for finding in read(data).findings}

    assert code in asked
    assert code not in usual
    assert usual <= asked


def test_the_quirk_of_lists_is_the_studios() -> None:
    data = next(row[1] for row in QUIRKS if row[0] == "array-io")

    errors = read(data, profile=Profile.COPILOT_STUDIO).errors

    assert [(e.code, e.pointer) for e in errors] == [
        ("SKM605", "/activities/book/value/properties/a")
    ]


if __name__ == "__main__":
    PAGE.write_text(HEAD + code_table(), encoding="utf-8")
