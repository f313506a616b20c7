"""`skills-host cert`: files that a host and a registration can use, and what is in them."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from skills_host.auth.certificates import read_certificate
from skills_host.cli import cli
from skills_host.cli.terminal import Exit
from skills_host.lab.authority import LabApp
from tests.auth.issuer import BOT
from tests.auth.pairs import Pair, pair

NOW = time.time()


def ran(*arguments: object, password: str = "") -> Result:
    """One command with a password in the environment."""
    environ = {"SKILLS_HOST_CERT_PASSWORD": password}
    return CliRunner().invoke(cli, ["cert", *map(str, arguments)], env=environ)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def current(days: float = 30) -> Pair:
    return pair("current", begins=NOW - 3600, days=days)


# new


def test_new_makes_three_files(tmp_path: Path) -> None:
    """The private ones are their owner's alone."""
    result = ran("new", "--name", "Bot Ä/1", "--days", "30", "--out", tmp_path / "certs", "--json")
    found = json.loads(result.stdout)

    assert result.exit_code == Exit.DONE
    files = sorted((tmp_path / "certs").iterdir())
    assert [file.suffix for file in files] == [".crt", ".key", ".pfx"]
    assert [stat.S_IMODE(file.stat().st_mode) & 0o077 for file in files[1:]] == [0, 0]
    assert {file.parent for file in files} == {tmp_path / "certs"}
    assert found["subject"] == "CN=Bot Ä/1"
    assert 29.9 < found["days_left"] <= 30


def test_what_new_makes_can_be_used(tmp_path: Path) -> None:
    """The public file for the registration, the others for the host."""
    found = json.loads(ran("new", "--out", tmp_path, "--json").stdout)
    public = Path(found["certificate"]).read_bytes()
    own = read_certificate(public, key=Path(found["key"]).read_bytes())

    assert b"PRIVATE" not in public
    assert (own.sha1, own.sha256) == (found["sha1"], found["sha256"])
    assert read_certificate(Path(found["pfx"]).read_bytes()) == own
    assert LabApp(BOT, certificate=public.decode()).registered[0].sha256 == own.sha256


def test_new_says_what_goes_where(tmp_path: Path) -> None:
    result = ran("new", "--out", tmp_path)

    assert "bot.crt: public. Upload it" in result.stdout
    assert f'key = "{tmp_path}/bot.key"' in result.stdout
    assert "PRIVATE" not in result.output


@pytest.mark.parametrize("suffix", [".crt", ".key", ".pfx"])
def test_new_overwrites_nothing(tmp_path: Path, suffix: str) -> None:
    """And leaves nothing beside it."""
    file = written(tmp_path / f"bot{suffix}", b"mine")
    result = ran("new", "--out", tmp_path)

    assert (result.exit_code, "is not overwritten" in result.stderr) == (Exit.SAID_NO, True)
    assert [(path, path.read_bytes()) for path in tmp_path.iterdir()] == [(file, b"mine")]


def test_new_leaves_nothing_half_done(tmp_path: Path) -> None:
    """What cannot be seen beforehand is found when the file is made: here a dangling link."""
    (tmp_path / "bot.pfx").symlink_to(tmp_path / "nowhere")
    result = ran("new", "--out", tmp_path)

    assert result.exit_code == Exit.SAID_NO
    assert [path.name for path in tmp_path.iterdir()] == ["bot.pfx"]


def test_new_needs_a_folder(tmp_path: Path) -> None:
    result = ran("new", "--out", written(tmp_path / "file", b"") / "certs")

    assert (result.exit_code, "file" in result.stderr) == (Exit.SAID_NO, True)


@pytest.mark.parametrize("options", [["--name", ""], ["--name", "x" * 65], ["--days", "0"]])
def test_new_refuses_what_no_certificate_has(tmp_path: Path, options: list[str]) -> None:
    result = ran("new", "--out", tmp_path, *options)

    assert (result.exit_code, list(tmp_path.iterdir())) == (Exit.USAGE, [])


# show


def test_show_prints_what_is_public(tmp_path: Path) -> None:
    own = current()
    result = ran("show", written(tmp_path / "bot.pem", own.key_pem("hush") + own.pem))

    assert result.exit_code == Exit.DONE
    assert "CN=current" in result.stdout and "days left" in result.stdout
    assert "PRIVATE" not in result.output


@pytest.mark.parametrize("password", ["", "hush"])
def test_show_reads_a_pfx(tmp_path: Path, password: str) -> None:
    file = written(tmp_path / "bot.pfx", current().pfx(password))
    result = ran("show", file, "--json", password=password)

    assert json.loads(result.stdout)["subject"] == "CN=current"


def test_show_says_no_to_an_expired_certificate(tmp_path: Path) -> None:
    result = ran("show", written(tmp_path / "bot.crt", current(days=0.01).pem))

    assert (result.exit_code, "CN=current" in result.stdout) == (Exit.SAID_NO, True)
    assert "has expired" in result.stderr


def test_show_says_no_to_a_certificate_of_tomorrow(tmp_path: Path) -> None:
    result = ran("show", written(tmp_path / "bot.crt", pair(begins=NOW + 86400).pem))

    assert (result.exit_code, "not yet valid" in result.stderr) == (Exit.SAID_NO, True)


def test_show_says_no_to_what_is_no_certificate(tmp_path: Path) -> None:
    result = ran("show", written(tmp_path / "bot.crt", b"x"))

    assert (result.exit_code, "settings: it is neither" in result.stderr) == (Exit.SAID_NO, True)


def test_show_needs_a_file(tmp_path: Path) -> None:
    result = ran("show", tmp_path / "none.crt")

    assert (result.exit_code, "none.crt" in result.stderr) == (Exit.USAGE, True)


# Beside it


def test_check_refuses_an_expired_certificate(tmp_path: Path) -> None:
    """Before anything runs, and by the name of the setting."""
    own = current(days=0.01)
    written(tmp_path / "bot.pem", own.pem + own.key_pem())
    config = tmp_path / "host.toml"
    config.write_text(
        f'[bots.root]\nkind = "root"\napp_id = "{BOT}"\ncredential = {{certificate = "bot.pem"}}\n'
    )
    result = CliRunner().invoke(cli, ["check", "--config", str(config)])

    assert result.exit_code == Exit.SAID_NO
    assert "bots.root.credential.certificate: the certificate has expired" in result.stderr


def test_the_lab_refuses_a_broken_certificate() -> None:
    apps = json.dumps([{"app_id": BOT, "certificate": "hush"}])
    result = CliRunner().invoke(cli, ["lab"], env={"SKILLS_HOST_LAB_APPS": apps})

    assert (result.exit_code, "BadCertificate" in result.stderr) == (Exit.USAGE, True)
    assert "hush" not in result.output
