"""What the process of a root carries: what serves, and nothing that it was not asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from skills_host.cli.serve import YOUNG
from skills_host.lab.world import toml_of
from tests.cli.test_commands import tables

NOBODY = "http://127.0.0.1:9/x"
NOT_ASKED_FOR = (
    *("asyncpg", "azure", "jsonschema_rs", "msal", "re2", "redis", "rich", "sklearn", "tomlkit"),
    *("skills_host.administered", "skills_host.doctor", "skills_host.imports", "skills_host.lab"),
    *("skills_host.cli.demo", "skills_host.cli.skill", "skills_host.web.admin"),
)
# The command as it is installed, which tells of itself when it has ended.
COMMAND = """
import atexit, gc, json, sys
from skills_host.cli import main

def told():
    state = {"frozen": gc.get_freeze_count(), "young": gc.get_threshold()[0]}
    print(json.dumps({"modules": sorted(sys.modules), **state}))

atexit.register(told)
main()
"""


def served(folder: Path, **changes: Any) -> dict[str, Any]:
    """What `serve` tells of itself that has started and is stopped by the end of its input."""
    config = folder / "skills-host.toml"
    given = tables(
        host={"bind": "127.0.0.1:0", "public_url": "http://127.0.0.1:3999"},
        store={"url": f"sqlite:///{folder}/root.db"},
        cloud={"entra_metadata": NOBODY, "channel_metadata": NOBODY},
        **changes,
    )
    config.write_text(toml_of(given), encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-c", COMMAND, "serve", "--config", str(config), "--with-parent"],
        capture_output=True,
        env={"SECRET": "s"},
        input="",
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_a_root_carries_only_what_serves_it(tmp_path: Path) -> None:
    """And what it carries is kept out of collections of garbage."""
    found = served(tmp_path)
    modules = set(found["modules"])

    assert {"skills_host.web.messages", "skills_host.web.skills"} <= modules
    assert not modules.intersection(NOT_ASKED_FOR)
    assert found["frozen"] > 10_000
    assert found["young"] == YOUNG


def test_a_process_that_imports_a_host_collects_garbage_as_before() -> None:
    tell = "import gc; print(gc.get_freeze_count(), gc.get_threshold(), gc.isenabled())"
    codes = (tell, f"import skills_host.app, skills_host.cli.run; {tell}")
    told = [subprocess.check_output([sys.executable, "-c", code]) for code in codes]

    assert told[0] == told[1]


def test_a_root_carries_what_its_settings_ask_for(tmp_path: Path) -> None:
    skill = tables()["skills"]["echo"]
    changes = {"skills": {"echo": {**skill, "patterns": ["echo .*"]}}, "admin": {"enabled": True}}
    modules = set(served(tmp_path, **changes)["modules"])

    assert {"re2", "skills_host.administered"} <= modules
    assert "jsonschema_rs" not in modules
