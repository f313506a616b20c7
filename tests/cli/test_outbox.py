"""`skills-host outbox`: from the store, whether the host runs or not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from skills_host.activity import Activity
from skills_host.channels.outbox import DEAD, KIND, Waiting, opened, sealed
from skills_host.cli.terminal import Exit
from skills_host.lab.world import toml_of
from skills_host.store.records import Put
from skills_host.store.seal import Keys, keys_of
from skills_host.store.sqlite import SqliteStore
from tests.cli.test_commands import ran, tables

PLACE = "root/scope/http%3A%2F%2Fx/c%2F1"
SECRET = "nobody may read this"


def waiting(key: str, since: float) -> Waiting:
    activity = Activity.make("message", text=SECRET)
    return Waiting(activity, key, None, since, tries=3, why="channel-failed")


def in_store(config: Path, work: Callable[[SqliteStore, Keys], Coroutine[Any, Any, Any]]) -> Any:
    async def run() -> Any:
        store = SqliteStore(config.parent / "host.db")
        await store.open()
        try:
            return await work(store, await keys_of(store, []))
        finally:
            await store.close()

    return asyncio.run(run())


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A settings file, and a store in which two activities wait and one is dead."""
    path = tmp_path / "skills-host.toml"
    path.write_text(toml_of(tables(store={"url": "sqlite:///host.db"})), encoding="utf-8")

    async def write(store: SqliteStore, keys: Keys) -> None:
        queue = [waiting("turn#1", 10.0), waiting("turn#2", 11.0)]
        dead = f"{PLACE}/turn%230"
        await store.write(
            [
                Put(KIND, PLACE, sealed(keys, PLACE, queue), due=5e9),
                Put(DEAD, dead, sealed(keys, dead, [waiting("turn#0", 9.0)])),
            ]
        )

    in_store(path, write)
    return path


def listed(config: Path) -> list[dict[str, Any]]:
    result = ran("outbox", "list", "--json", "--config", str(config))
    assert SECRET not in result.stdout
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def queued(config: Path) -> list[str]:
    """The keys of what waits, in order."""

    async def read(store: SqliteStore, keys: Keys) -> list[str]:
        records = await store.scan(KIND, limit=10)
        return [one.key for record in records for one in opened(keys, record)]

    found: list[str] = in_store(config, read)
    return found


def test_what_waits_and_what_is_dead_is_listed(config: Path) -> None:
    rows = listed(config)

    assert [row["state"] for row in rows] == ["dead", "waiting", "waiting"]
    assert {(row["bot"], row["conversation"], row["why"]) for row in rows} == {
        ("root", "c/1", "channel-failed")
    }
    assert ran("outbox", "list", "--config", str(config)).stdout.count("\n") == 3


def test_what_is_dead_is_sent_again_behind_what_waits(config: Path) -> None:
    result = ran("outbox", "retry", "--dead", "--config", str(config))

    assert result.stdout == "1 to be sent again\n"
    assert queued(config) == ["turn#1", "turn#2", "turn#0"]
    assert {row["state"] for row in listed(config)} == {"waiting"}


def test_one_of_a_queue_is_dropped(config: Path) -> None:
    ids = [row["id"] for row in listed(config)]
    assert ran("outbox", "drop", ids[1], "--config", str(config)).stdout == "1 dropped\n"
    assert queued(config) == ["turn#2"]

    assert ran("outbox", "drop", ids[0], ids[2], "--config", str(config)).exit_code == Exit.DONE
    assert listed(config) == []


@pytest.mark.parametrize("given", [["0123456789ab"], []])
def test_what_is_not_there_cannot_be_dropped(config: Path, given: list[str]) -> None:
    result = ran("outbox", "drop", *given, "--config", str(config))

    assert result.exit_code == Exit.SAID_NO
    assert len(listed(config)) == 3
