"""What has been found about manifests, for people (text), programs (JSON) and CI (SARIF 2.1.0)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from skills_host.consumer.manifest.codes import CODES
from skills_host.consumer.manifest.model import Finding, Profile, Reading, Severity

__all__ = ["as_json", "as_sarif", "as_text", "code_table"]

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_SARIF = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def as_text(readings: Mapping[str, Reading]) -> Iterator[str]:
    """A line for each finding, in the form that editors and compilers share; then the verdict."""
    for file, reading in readings.items():
        for finding in reading.findings:
            place = f"{file}:{finding.line}:{finding.column}"
            where = f" at {finding.pointer}" if finding.pointer else ""
            mend = f" ({finding.fix})" if finding.fix else ""
            yield f"{place}: {finding.severity} {finding.code}: {finding.message}{where}{mend}"
        yield f"{file}: {'not valid' if reading.manifest is None else 'valid'}"


def as_json(readings: Mapping[str, Reading], *, profile: Profile) -> list[dict[str, Any]]:
    """The findings of each file as JSON values."""
    return [
        {
            "file": file,
            "profile": profile,
            "valid": reading.manifest is not None,
            "generation": None if reading.manifest is None else reading.manifest.generation,
            "findings": [asdict(finding) for finding in reading.findings],
        }
        for file, reading in readings.items()
    ]


def as_sarif(readings: Mapping[str, Reading]) -> dict[str, Any]:
    """The findings as one run of SARIF 2.1.0; `info` is a note there."""
    used = sorted({finding.code for reading in readings.values() for finding in reading.findings})
    results = [
        _result(file, finding, used)
        for file, reading in readings.items()
        for finding in reading.findings
    ]
    driver = {"name": "skills-host", "rules": [_rule(code) for code in used]}
    return {
        "$schema": _SARIF,
        "version": "2.1.0",
        "runs": [
            {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
        ],
    }


def code_table() -> str:
    """The table of all codes in Markdown."""
    lines = ["| code | severity | meaning | what to do |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {code.severity} | {code.meaning} | {code.fix} |"
        for name, code in CODES.items()
    ]
    return "\n".join(lines) + "\n"


def _rule(name: str) -> dict[str, Any]:
    code = CODES[name]
    rule: dict[str, Any] = {
        "id": name,
        "shortDescription": {"text": code.meaning},
        "defaultConfiguration": {"level": _LEVELS[code.severity]},
    }
    return rule | ({"help": {"text": code.fix}} if code.fix else {})


def _result(file: str, finding: Finding, used: Sequence[str]) -> dict[str, Any]:
    fix = f" To mend it: {finding.fix}." if finding.fix else ""
    return {
        "ruleId": finding.code,
        "ruleIndex": used.index(finding.code),
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.message}.{fix}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(file.replace("\\", "/"))},
                    "region": {"startLine": finding.line, "startColumn": finding.column},
                },
                "logicalLocations": [{"fullyQualifiedName": finding.pointer or "/"}],
            }
        ],
    }
