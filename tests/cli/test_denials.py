"""`skills-host denials`: from the store, whether the host runs or not."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from skills_host.auth.denials import DECIDED_BY, DENIALS, Denied
from skills_host.cli.terminal import Exit
from skills_host.lab.world import toml_of
from skills_host.store.sqlite import SqliteStore
from skills_host.web.receipts import Receipts
from tests.cli.test_commands import ran, tables

STRANGER = "c0000000-0000-4000-8000-000000000001"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A settings file whose store is beside it."""
    path = tmp_path / "skills-host.toml"
    path.write_text(toml_of(tables(store={"url": "sqlite:///host.db"})), encoding="utf-8")
    return path


def refused(config: Path, *errors: Denied) -> list[str]:
    """The ids of receipts that a host wrote of these refusals."""

    async def write() -> list[str]:
        store = SqliteStore(config.parent / "host.db")
        await store.open()
        random = iter(range(100))
        ledger = Receipts(
            store,
            now=time.time,
            random=lambda _: next(random).to_bytes(4, "big"),
            keep=100,
            age=60,
        )
        ids = [ledger.note(error, door="skills", caller="10.0.0.1") for error in errors]
        await ledger.close()
        await store.close()
        return [id for id in ids if id is not None]

    return asyncio.run(write())


def test_one_refusal_is_shown_whole(config: Path) -> None:
    (id,) = refused(config, Denied("skill-not-allowed", expected="a skill", seen=STRANGER))
    result = ran("denials", "show", id, "--config", str(config))

    assert result.exit_code == Exit.DONE
    for part in ("403 skill-not-allowed", "a skill", STRANGER, "skills.NAME", "register the skill"):
        assert part in result.stdout


def test_clocks_are_compared(config: Path) -> None:
    (id,) = refused(config, Denied("expired", expected="before 1000", seen="1100"))
    found = json.loads(ran("denials", "show", id, "--config", str(config), "--json").stdout)

    assert found["clock"].startswith("100 s beyond")


@pytest.mark.parametrize("id", ["1700000000000-0000abcd", "../x"])
def test_an_unknown_receipt_is_said_to_be_unknown(config: Path, id: str) -> None:
    result = ran("denials", "show", id, "--config", str(config))

    assert result.exit_code == Exit.SAID_NO
    assert "receipt" in result.stderr


def test_the_newest_are_listed_first(config: Path) -> None:
    ids = refused(config, Denied("no-header"), Denied("caller-not-allowed", seen=STRANGER))
    listed = json.loads(ran("denials", "list", "--config", str(config), "--json").stdout)
    text = ran("denials", "list", "--config", str(config), "--limit", "1").stdout

    assert sorted((receipt["id"] for receipt in listed), reverse=True) == sorted(ids, reverse=True)
    assert listed[0]["at"] >= listed[1]["at"]
    assert len(text.splitlines()) == 1


def test_without_a_verb_they_are_listed(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.parent)
    (id,) = refused(config, Denied("no-header"))

    assert id in ran("denials").stdout


def test_the_table_of_codes_is_printed() -> None:
    assert ran("denials", "codes").stdout.count("\n") >= len(DENIALS)
    table = json.loads(ran("denials", "codes", "--json").stdout)
    assert table.keys() == DENIALS.keys()
    assert table["caller-not-allowed"]["setting"] == DECIDED_BY["caller-not-allowed"]
