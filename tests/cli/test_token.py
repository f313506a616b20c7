"""`skills-host token explain`: what a host with these settings would decide."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from skills_host.cli import cli
from skills_host.cli.terminal import Exit
from skills_host.lab.world import toml_of
from tests.cli.test_commands import ROOT_ID, SKILL_ID, tables
from tests.world import Lab

STRANGER = "c0000000-0000-4000-8000-000000000001"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "skills-host.toml"
    cloud = {"lab": "http://127.0.0.1:1"}
    path.write_text(toml_of(tables(cloud=cloud)), encoding="utf-8")
    return path


def explain(config: Path, given: str, *options: str) -> Result:
    arguments = ["token", "explain", "--config", str(config), *options]
    return CliRunner().invoke(cli, arguments, input=given, env={"SECRET": "hush-hush"})


def token(lab: Lab, client: str, **claims: str) -> str:
    return lab.authority.app_token(client_id=client, audience=ROOT_ID, **claims)  # type: ignore[arg-type]


def test_a_token_is_explained_rule_by_rule(config: Path, lab: Lab) -> None:
    given = token(lab, SKILL_ID)
    result = explain(config, given, "--door", "skill-host", "--no-network")

    assert result.exit_code == Exit.DONE
    assert "not checked  signature" in result.stdout
    assert f"passed  list  skill {SKILL_ID}" in result.stdout
    assert given not in result.output


def test_a_header_may_be_pasted_whole(config: Path, lab: Lab) -> None:
    given = f"Bearer {token(lab, SKILL_ID)}\n"

    assert explain(config, given, "--door", "skill-host", "--no-network").exit_code == Exit.DONE


def test_a_refusal_says_what_to_change(config: Path, lab: Lab) -> None:
    given = token(lab, STRANGER)
    result = explain(config, given, "--no-network", "--json")
    found = {finding["rule"]: finding for finding in json.loads(result.stdout)}

    assert result.exit_code == Exit.SAID_NO
    assert found["list"]["code"] == "caller-not-allowed"
    assert found["list"]["seen"] == STRANGER
    assert found["list"]["setting"] == "bots.NAME.allowed_callers"
    assert "allowed_callers" in explain(config, given, "--no-network").stdout


def test_an_authority_that_is_away_is_said_to_be(config: Path, lab: Lab) -> None:
    result = explain(config, token(lab, SKILL_ID), "--door", "skill-host")

    assert result.exit_code == Exit.UNREACHABLE
    assert "keys-unavailable" in result.stdout


def test_nonsense_is_refused(config: Path) -> None:
    assert explain(config, "", "--no-network").exit_code == Exit.SAID_NO
    assert explain(config, "x", "--bot", "nobody").exit_code == Exit.USAGE
