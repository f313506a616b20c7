"""What is beside the code is in order: scripts run as they stand, pages lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(path for path in (ROOT / "scripts").iterdir() if path.name != "venv")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md")])

_LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")


def name_of(path: Path) -> str:
    """A path as a test's parameter is shown."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("script", [*SCRIPTS, ROOT / ".ci" / "run"], ids=name_of)
def test_a_script_can_be_run(script: Path) -> None:
    """It is executable and its shell can read it."""
    shell = script.read_text(encoding="utf-8").splitlines()[0].split("/")[-1].split()[-1]
    read = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)

    assert (os.access(script, os.X_OK), read.stderr) == (True, "")


def test_every_script_is_explained() -> None:
    """The contributing page has a line for each script, and for nothing else."""
    page = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| `scripts/(\w+)` \|", page, re.MULTILINE)

    assert sorted(explained) == [script.name for script in SCRIPTS]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link names a file that exists."""
    targets = _LINK.findall(page.read_text(encoding="utf-8"))

    assert [target for target in targets if not (page.parent / target).exists()] == []
