"""`skills-host doctor`: its table, its JSON, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skills_host.cli.terminal import Exit
from skills_host.lab.world import toml_of
from tests.cli.test_commands import ran, tables

AWAY = "redis://ann:hunter2@127.0.0.1:1/3"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Sound settings of a host whose lab and skill do not run."""
    path = tmp_path / "skills-host.toml"
    given = tables(
        cloud={"lab": "http://127.0.0.1:1"},
        skills={},
        store={"url": "sqlite:///host.db"},
    )
    path.write_text(toml_of(given), encoding="utf-8")
    return path


def test_an_authority_that_is_away_is_another_status(config: Path) -> None:
    result = ran("doctor", "--config", str(config), "--json")
    rows = {row["name"]: row for row in json.loads(result.stdout)}

    assert result.exit_code == Exit.UNREACHABLE
    assert rows["token of root for channels"]["code"] == "authority-unreachable"
    assert rows["store"]["health"] == "ok"
    assert "hush-hush" not in result.output


def test_the_table_has_a_fix_for_each_failure(config: Path) -> None:
    result = ran("doctor", "--config", str(config))

    assert "authority-unreachable" in result.stdout
    assert "failed" in result.stdout


def test_settings_that_cannot_be_read_are_a_row(config: Path) -> None:
    config.write_text("[bots.root]\nkind = 'nothing'\n", encoding="utf-8")
    result = ran("doctor", "--config", str(config), "--json")

    assert result.exit_code == Exit.SAID_NO
    assert [row["name"] for row in json.loads(result.stdout)] == ["settings"]


def test_a_redis_that_is_away_is_a_warning(config: Path) -> None:
    """And its password is nowhere."""
    text = config.read_text(encoding="utf-8")
    config.write_text(f'{text}\n[coordination]\nurl = "{AWAY}"\n', encoding="utf-8")
    result = ran("doctor", "--config", str(config), "--json")
    rows = {row["name"]: row for row in json.loads(result.stdout)}

    assert (rows["coordination"]["health"], rows["coordination"]["code"]) == (
        "warning",
        "coordination-away",
    )
    assert "hunter2" not in result.output
