"""The script that reads a folder of manifests against its index."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.consumer.manifest.samples import main
from tests.consumer.manifest.sound import data_of
from tests.consumer.manifest.test_quirks import V1


def folder_of(path: Path, *, is_right: bool) -> Path:
    """A folder with three manifests and an index, right about all of them or not."""
    files = {
        "good.json": (data_of(), True),
        "bad.json": (data_of(vendor=1), not is_right),
        "old.json": (json.dumps(V1).encode(), None),
    }
    entries = [
        {"file": name, "schema_version": "2.2.0", "valid_with_format_assertion": valid}
        for name, (_, valid) in files.items()
    ]
    for name, (data, _) in files.items():
        (path / name).write_bytes(data)
    (path / "index.json").write_text(json.dumps({"entries": entries}))
    return path


def test_a_folder_that_agrees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder_of(tmp_path, is_right=True))]) == 0

    said = capsys.readouterr().out
    assert "3 manifests: strict agrees with the index on 3" in said
    assert "compat takes 3 and refuses 0" in said


def test_a_disagreement_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder_of(tmp_path, is_right=False))]) == 1

    assert "DISAGREES: bad.json: SKM102" in capsys.readouterr().out


def test_a_folder_without_an_index_is_a_mistake(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 2
