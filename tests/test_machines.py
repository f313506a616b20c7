"""Hosts of two machines on one store."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from skills_host.cli.terminal import Exit
from skills_host.errors import SettingsError
from skills_host.lab.world import toml_of
from skills_host.store.heartbeats import Heartbeats, Machine
from skills_host.store.sqlite import SqliteStore
from tests.cli.test_commands import ran, tables
from tests.world import REPLICA, ROOT, Town


async def test_a_host_of_another_machine_does_not_start(empty_town: Town) -> None:
    await empty_town.start_root()
    empty_town.machine = Machine("another", "another run")
    with pytest.raises(SettingsError, match=r"coordination\.url: another machine"):
        await empty_town.start_root(base=REPLICA)

    await empty_town.stop(ROOT)
    await empty_town.start_root(base=REPLICA)
    assert len(empty_town.records("heartbeat")) == 1


async def test_hosts_of_one_machine_are_listed(empty_town: Town) -> None:
    await empty_town.start_root()
    await empty_town.start_root(base=REPLICA)

    assert len(empty_town.records("heartbeat")) == 2
    await empty_town.stop(REPLICA)
    assert len(empty_town.records("heartbeat")) == 1


def test_hosts_lists_who_lives(tmp_path: Path) -> None:
    config = tmp_path / "skills-host.toml"
    config.write_text(toml_of(tables(store={"url": "sqlite:///host.db"})), encoding="utf-8")

    async def beat() -> None:
        store = SqliteStore(tmp_path / "host.db")
        await store.open()
        machine = Machine("m", "b")
        heart = Heartbeats(store, host="h", machine=machine, pid=7, coordinated=True, now=time.time)
        await heart._beat()
        await store.close()

    asyncio.run(beat())
    listed = ran("hosts", "--json", "--config", str(config))
    text = ran("hosts", "--config", str(config)).stdout

    assert (listed.exit_code, json.loads(listed.stdout)[0]["pid"]) == (Exit.DONE, 7)
    assert text.startswith("m  7  20") and text.endswith("coordinated\n")
