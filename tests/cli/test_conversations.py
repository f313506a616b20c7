"""`skills-host conversations`: from the store, whether the host runs or not."""

from __future__ import annotations

import asyncio
import importlib
import json
from pathlib import Path

import pytest

from skills_host.bot.turn import Place
from skills_host.cli.terminal import Exit
from skills_host.consumer.conversations import SkillConversation
from skills_host.lab.world import toml_of
from skills_host.reference import ConversationReference
from skills_host.store.records import Put
from skills_host.store.sqlite import SqliteStore
from tests.cli.test_commands import ran, tables


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file, and a store with two open conversations and a closed one."""
    path = tmp_path / "skills-host.toml"
    path.write_text(toml_of(tables(store={"url": "sqlite:///host.db"})), encoding="utf-8")
    # In its package, the command stands before the module of the same name.
    module = importlib.import_module("skills_host.cli.conversations")
    monkeypatch.setattr(module, "POLL", 0.01)
    monkeypatch.setattr(module, "WAIT", 0.05)
    reference = ConversationReference(
        channel_id="console", service_url="http://x", conversation=b'{"id":"c1"}'
    )
    place = Place(reference, "https://api.botframework.com", "session")

    async def write() -> None:
        store = SqliteStore(tmp_path / "host.db")
        await store.open()
        for handle, skill, closed in (("h1", "echo", 0), ("h2", "booking", 0), ("h3", "echo", 1)):
            body = SkillConversation(handle, skill, "s", "r", place, 7.0, bool(closed)).encode()
            await store.write([Put("handle", handle, body, owner="s")])
        await store.close()

    asyncio.run(write())
    return path


def test_what_is_open_is_listed(config: Path) -> None:
    listed = json.loads(ran("conversations", "list", "--json", "--config", str(config)).stdout)
    text = ran("conversations", "list", "--skill", "echo", "--config", str(config)).stdout

    assert {row["handle"] for row in listed} == {"h1", "h2"}
    assert listed[0]["conversation"] == "c1"
    assert text == "h1  1970-01-01T00:00:07+00:00  echo  console\n"


def test_an_end_that_no_host_makes_is_said_to_wait(config: Path) -> None:
    result = ran("conversations", "end", "h1", "--config", str(config))

    assert result.exit_code == Exit.UNREACHABLE
    assert "is a host running" in result.stderr


def test_what_is_not_open_cannot_be_ended(config: Path) -> None:
    for handle in ("h3", "nothing"):
        result = ran("conversations", "end", handle, "--config", str(config))
        assert (result.exit_code, "no such" in result.stderr) == (Exit.SAID_NO, True)


def test_either_a_handle_or_a_skill_is_given(config: Path) -> None:
    assert ran("conversations", "end", "--config", str(config)).exit_code == Exit.USAGE
    both = ran("conversations", "end", "h1", "--skill", "echo", "--config", str(config))
    assert both.exit_code == Exit.USAGE
