"""What the pages claim is there: commands, settings, and the tests that they name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer import Context
from typer.main import get_command

from skills_host.cli import cli
from skills_host.settings import Credential, Limits

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def named(page: Path) -> list[list[str]]:
    """The commands of ours that a page names, as words."""
    found = re.findall(r"skills-host ((?:[a-z-]+ ?){1,2})", page.read_text(encoding="utf-8"))
    return [words.split() for words in found]


def defined_tests() -> set[str]:
    """The names of all tests."""
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    return {name for text in texts for name in re.findall(r"def (test_\w+)", text)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_exists(page: Path) -> None:
    top = get_command(cli)
    for first, *rest in named(page):
        command = top.get_command(Context(top), first)  # type: ignore[attr-defined]
        assert command is not None, first
        verbs = getattr(command, "commands", {})
        assert not verbs or not rest or rest[0] in verbs or not rest[0].isalpha(), (first, rest)


def test_every_test_that_the_security_page_names_exists() -> None:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`(test_\w+)`", text))

    assert len(names) > 40
    assert names <= defined_tests()


def test_all_twenty_traps_are_told() -> None:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")

    assert re.findall(r"^\| (\d+) \|", text, re.MULTILINE) == [str(n + 1) for n in range(20)]


def test_every_limit_and_credential_is_told() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")

    missing = [
        name
        for kind in (Limits, Credential)
        for name in kind.model_fields
        if f"`{name}`" not in text
    ]
    assert missing == []
