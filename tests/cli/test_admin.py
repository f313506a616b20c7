"""`skills-host admin token`: shown once, listed without what they are, revoked by id or text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from skills_host.cli import cli
from skills_host.cli.terminal import Exit
from skills_host.lab.world import toml_of

TABLES = {
    "bots": {
        "root": {
            "kind": "root",
            "app_id": "a0000000-0000-4000-8000-000000000001",
            "credential": {"secret": "hush"},
        }
    }
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A sound settings file."""
    path = tmp_path / "skills-host.toml"
    path.write_text(toml_of(TABLES), encoding="utf-8")
    return path


def ran(config: Path, *arguments: str) -> Result:
    """One `admin token` command."""
    return CliRunner().invoke(cli, ["admin", "token", *arguments, "--config", str(config)])


def test_a_token_is_shown_once_and_revoked(config: Path) -> None:
    text = ran(config, "add", "ann", "--role", "author", "--role", "auditor").stdout.strip()
    listed = ran(config, "list")
    revoked = ran(config, "revoke", text)
    [told] = json.loads(ran(config, "list", "--json").stdout)

    assert text.startswith("skh_") and text[-43:] not in listed.output + revoked.output
    assert "ann  auditor,author  good" in listed.stdout
    assert (revoked.exit_code, told["state"]) == (Exit.DONE, "revoked")


def test_who_does_it_is_in_the_audit_trail(config: Path) -> None:
    """Whoever runs the command, or says to be; never the token."""
    text = ran(config, "add", "ann", "--role", "author", "--as", "bea").stdout.strip()
    ran(config, "revoke", text, "--reason", "she left")
    told = CliRunner().invoke(cli, ["audit", "tail", "--json", "--config", str(config)])
    added, revoked = json.loads(told.stdout)

    assert (added["actor"], added["verb"], added["details"]["name"]) == ("bea", "add-token", "ann")
    assert (revoked["verb"], revoked["reason"]) == ("revoke-token", "she left")
    assert added["details"]["token"] == revoked["details"]["token"] == text[4:20]
    assert text[-43:] not in told.output


def test_what_is_not_there_cannot_be_revoked(config: Path) -> None:
    assert ran(config, "revoke", "0" * 16).exit_code == Exit.SAID_NO


@pytest.mark.parametrize("arguments", [["a b", "--role", "author"], ["ann", "--role", "king"]])
def test_names_and_roles_are_checked(config: Path, arguments: list[str]) -> None:
    assert ran(config, "add", *arguments).exit_code == Exit.USAGE
