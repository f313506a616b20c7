"""Examples of a skill from files that its settings name."""

from __future__ import annotations

from pathlib import Path

from skills_host.registered import with_examples
from skills_host.settings import SkillSettings


def test_examples_come_from_files(tmp_path: Path) -> None:
    """After those that are written down; each kind of file is read in its own way."""
    (tmp_path / "a.lu").write_text("# Forecast\n- will it rain in {city=Rome}\n")
    (tmp_path / "b.txt").write_text("is it cold\n")
    given = SkillSettings.model_validate(
        {
            "endpoint": "https://skill.example/",
            "app_id": "a0000000-0000-4000-8000-000000000001",
            "examples": ["what a day"],
            "example_files": [str(tmp_path / "a.lu"), str(tmp_path / "b.txt")],
        }
    )
    found = with_examples(given)

    assert found.examples == {"": ("what a day", "will it rain in Rome", "is it cold")}
    assert found.example_files == ()
