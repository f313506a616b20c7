"""`skills-host import`: what it writes passes `check`, and nothing is overwritten or told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from skills_host.cli import cli
from skills_host.cli.terminal import Exit
from tests.imports.layouts import COMPOSER, FILES, SECRET, manifest

ENDPOINT = "https://echo.example.com/api/messages"


@pytest.mark.parametrize("name", FILES)
def test_what_is_written_passes_check(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(FILES[name], encoding="utf-8")
    out = tmp_path / "skills-host.toml"
    result = CliRunner().invoke(cli, ["import", str(tmp_path / name), "--out", str(out), "--json"])
    found = json.loads(result.stdout)
    environ = dict.fromkeys(found["variables"], SECRET)
    check = CliRunner().invoke(cli, ["check", "--config", str(out)], env=environ)

    assert (result.exit_code, check.exit_code) == (Exit.DONE, Exit.DONE), check.output
    assert SECRET not in result.output + out.read_text(encoding="utf-8")
    assert out.stat().st_mode & 0o077 == 0


def test_a_manifest_is_found_from_where_the_configuration_stands(tmp_path: Path) -> None:
    (tmp_path / "settings").mkdir()
    settings, described = tmp_path / "settings" / "appsettings.json", tmp_path / "echo.json"
    settings.write_text(COMPOSER, encoding="utf-8")
    described.write_text(manifest(ENDPOINT), encoding="utf-8")
    out = tmp_path / "settings" / "skills-host.toml"
    CliRunner().invoke(cli, ["import", str(settings), str(described), "--out", str(out)])
    check = CliRunner().invoke(
        cli, ["check", "--config", str(out)], env={"MicrosoftAppPassword": SECRET}
    )

    assert check.exit_code == Exit.DONE, check.output
    assert 'manifest = "../echo.json"' in out.read_text(encoding="utf-8")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(COMPOSER, encoding="utf-8")
    result = CliRunner().invoke(
        cli, ["import", str(tmp_path / "a.json"), "--out", str(tmp_path / "a.json")]
    )

    assert (result.exit_code, "not overwritten" in result.stderr) == (Exit.SAID_NO, True)
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == COMPOSER


def test_without_a_file_to_write_it_is_printed(tmp_path: Path) -> None:
    """The configuration alone on standard output, the differences beside it."""
    (tmp_path / "a.json").write_text(COMPOSER, encoding="utf-8")
    result = CliRunner().invoke(cli, ["import", str(tmp_path / "a.json")])

    assert result.exit_code == Exit.DONE
    assert "[skills.echo-skill-bot]" in result.stdout
    assert "wildcard-callers: bots.root.allowed_callers" in result.stderr


def test_something_left_out_is_a_no(tmp_path: Path) -> None:
    text = COMPOSER.replace("https://echo", "http://echo")
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    result = CliRunner().invoke(cli, ["import", str(tmp_path / "a.json")])

    assert result.exit_code == Exit.SAID_NO
    assert "LEFT OUT endpoint-refused" in result.stderr


@pytest.mark.parametrize(("name", "status"), [("none.json", Exit.USAGE), ("x.json", Exit.SAID_NO)])
def test_a_file_that_is_none_is_said(tmp_path: Path, name: str, status: int) -> None:
    (tmp_path / "x.json").write_text(f'{{"{SECRET}', encoding="utf-8")
    result = CliRunner().invoke(cli, ["import", str(tmp_path / name)])

    assert (result.exit_code, name in result.stderr) == (status, True)
    assert SECRET not in result.output
