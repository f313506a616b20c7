"""The other commands: what they say, and their exit status."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from skills_host.cli import cli
from skills_host.cli.terminal import Exit
from skills_host.lab.world import toml_of

ROOT_ID = "a0000000-0000-4000-8000-000000000001"
SKILL_ID = "b0000000-0000-4000-8000-000000000001"


def tables(**changes: Any) -> dict[str, Any]:
    """The settings of a root with one skill."""
    return {
        "host": {"bind": "127.0.0.1:3999"},
        "bots": {
            "root": {"kind": "root", "app_id": ROOT_ID, "credential": {"secret": "${SECRET}"}}
        },
        "skills": {"echo": {"endpoint": "http://127.0.0.1:3998/api/messages", "app_id": SKILL_ID}},
    } | changes


def ran(*arguments: str, secret: str = "hush-hush") -> Result:
    """One command with a secret in the environment."""
    return CliRunner().invoke(cli, arguments, env={"SECRET": secret})


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """A sound settings file."""
    path = tmp_path / "skills-host.toml"
    path.write_text(toml_of(tables()), encoding="utf-8")
    yield path


def test_check_describes_the_host(config: Path) -> None:
    """Who may call, who may be called; the secret stays out of it."""
    result = ran("check", "--config", str(config), "--json")
    found = json.loads(result.stdout)

    assert result.exit_code == Exit.DONE
    assert [skill["name"] for skill in found["skills"]] == ["echo"]
    assert found["bots"][0]["allowed_callers"] == []
    assert "hush-hush" not in result.output


def test_check_shows_no_password_of_a_redis(config: Path) -> None:
    given = tables(coordination={"url": "redis://ann:hunter2@127.0.0.1:1/3"})
    config.write_text(toml_of(given), encoding="utf-8")
    told = ran("check", "--config", str(config), "--json")
    text = ran("check", "--config", str(config)).output

    assert json.loads(told.stdout)["coordination"] == "redis://127.0.0.1:1/3"
    assert "through redis://127.0.0.1:1/3" in text
    assert "hunter2" not in told.output + text


def test_check_names_an_absent_extra(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text(toml_of(tables(coordination={"url": "redis://127.0.0.1"})), encoding="utf-8")
    monkeypatch.setattr("skills_host.store.redis.Redis", None)
    result = ran("check", "--config", str(config))

    assert result.exit_code == Exit.SAID_NO
    assert "coordination.url: needs the extra redis" in result.output


def test_check_names_the_setting(config: Path) -> None:
    """The first fault, and no."""
    config.write_text(toml_of(tables(host={"bind": "nowhere"})), encoding="utf-8")
    result = ran("check", "--config", str(config))

    assert result.exit_code == Exit.SAID_NO
    assert "settings: host.bind" in result.stderr


def test_lab_in_public_is_refused(config: Path) -> None:
    """A host that others can reach believes no lab."""
    public = {"bind": "127.0.0.1:3999", "public_url": "https://bots.example.com"}
    cloud = {"entra_metadata": "http://127.0.0.1:3979/common/v2.0/.well-known/x"}
    config.write_text(toml_of(tables(host=public, cloud=cloud)), encoding="utf-8")

    for command in ("check", "serve"):
        result = ran(command, "--config", str(config))

        assert result.exit_code == Exit.SAID_NO
        assert "lab-in-public" in result.stderr


def test_taken_port_is_said(config: Path, tmp_path: Path) -> None:
    """A host that cannot listen has not reached what it needs."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        nobody = "http://127.0.0.1:9/x"
        cloud = {"entra_metadata": nobody, "channel_metadata": nobody}
        config.write_text(toml_of(tables(host={"bind": bind}, cloud=cloud)), encoding="utf-8")
        result = ran("serve", "--config", str(config))

    assert result.exit_code == Exit.UNREACHABLE
    assert bind in result.stderr


@pytest.mark.parametrize("code", ["x = 1", "from skills_host import Bot\na = Bot()\nb = Bot()"])
def test_file_has_exactly_one_bot(config: Path, tmp_path: Path, code: str) -> None:
    """None and two are both a mistake in how the command is used."""
    (tmp_path / "bots.py").write_text(code, encoding="utf-8")
    result = ran("run", str(tmp_path / "bots.py"), "--config", str(config))

    assert result.exit_code == Exit.USAGE
    assert "exactly one" in result.stderr


def test_missing_file_is_said(config: Path) -> None:
    """The name is in the message."""
    result = ran("run", "nowhere.py", "--config", str(config))

    assert (result.exit_code, "nowhere.py" in result.stderr) == (Exit.USAGE, True)


def test_code_of_another_kind_is_refused(config: Path, tmp_path: Path) -> None:
    """A skill's code does not make a root."""
    (tmp_path / "bot.py").write_text("from skills_host import Bot\nbot = Bot()", encoding="utf-8")
    result = ran("run", str(tmp_path / "bot.py"), "--config", str(config))

    assert result.exit_code == Exit.SAID_NO
    assert "bots.root.kind" in result.stderr


def test_lab_needs_apps() -> None:
    """Without registrations there is nobody to issue tokens to."""
    result = ran("lab")

    assert (result.exit_code, "SKILLS_HOST_LAB_APPS" in result.stderr) == (Exit.USAGE, True)


def test_lab_listens_on_loopback_only() -> None:
    """Anything else is a mistake in how the command is used."""
    apps = json.dumps([{"app_id": ROOT_ID, "secret": "s"}])
    result = CliRunner().invoke(
        cli, ["lab", "--http", "0.0.0.0:0"], env={"SKILLS_HOST_LAB_APPS": apps}
    )

    assert (result.exit_code, "lab-in-public" in result.stderr) == (Exit.USAGE, True)


def test_token_needs_a_lab() -> None:
    """Where nothing listens there is no token."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        lab = f"http://127.0.0.1:{free.getsockname()[1]}"
        result = ran("token", "mint", "--audience", ROOT_ID, "--lab", lab)

    assert result.exit_code == Exit.UNREACHABLE


def test_chat_needs_a_lab(config: Path) -> None:
    """A channel's token comes from a lab or from nobody."""
    result = ran("chat", "--config", str(config), "--say", "hello")

    assert (result.exit_code, "trust no lab" in result.stderr) == (Exit.SAID_NO, True)
