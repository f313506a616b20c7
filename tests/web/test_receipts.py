"""Receipts of refusals: found by their id, within quotas, and never in the way of an answer."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from skills_host.auth.denials import DENIALS, Denied
from skills_host.auth.receipts import Receipt, is_receipt_id, shown
from skills_host.cli.denials import follow_receipts, newest
from skills_host.errors import StoreFailed
from skills_host.store.records import Change
from skills_host.store.sqlite import SqliteStore
from skills_host.transport import Request, Response
from skills_host.web.receipts import PER_CALLER, PER_MINUTE, Receipts
from tests.world import IDS, ROOT, Town, until

HOST = f"{ROOT}/api/skills/v3/conversations/x/activities"


class Clock:
    """Seconds since the epoch, moved by the test."""

    def __init__(self) -> None:
        self.at = 1_700_000_000.0

    def __call__(self) -> float:
        self.at += 0.001
        return self.at


async def opened(path: Path) -> SqliteStore:
    store = SqliteStore(path)
    await store.open()
    return store


def receipts(store: Any, clock: Clock, *, keep: int = 1000) -> Receipts:
    made = iter(range(10**6))
    return Receipts(
        store,
        now=clock,
        random=lambda _: next(made).to_bytes(4, "big"),
        keep=keep,
        age=10**9,
    )


def stranger() -> Denied:
    return Denied("skill-not-allowed", expected="a registered skill", seen=IDS["stranger"])


async def call(town: Town, headers: dict[str, str]) -> Response:
    return await town.send(Request("POST", HOST, headers, b'{"type":"message"}', 20))


async def receipt_of(town: Town, id: str) -> Receipt:
    await until(lambda: bool(town.records("denial") or town.records("denial-unsigned")))
    records = town.records("denial") | town.records("denial-unsigned")
    return Receipt.parse(records[id])


async def test_the_caller_is_given_an_id_and_no_claim(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    headers = town.bearer("stranger")
    answer = await call(town, headers)
    error = json.loads(answer.body)["error"]
    receipt = await receipt_of(town, error["receipt"])

    assert (answer.status, error["code"]) == (403, "skill-not-allowed")
    assert IDS["stranger"] not in answer.body.decode() + caplog.text
    assert (receipt.caller, receipt.seen) == (IDS["stranger"], IDS["stranger"])
    assert receipt.setting == "skills.NAME"
    assert error["receipt"] in caplog.text


async def test_an_audience_that_is_not_ours_shows_what_was_seen(town: Town) -> None:
    answer = await call(town, town.bearer("echo", audience="booking"))
    receipt = await receipt_of(town, json.loads(answer.body)["error"]["receipt"])

    assert (receipt.expected, receipt.seen) == (IDS["root"], IDS["booking"])
    assert receipt.caller == "127.0.0.1"


async def test_an_expired_token_shows_by_how_much(town: Town) -> None:
    headers = town.bearer("echo", exp=int(town.now()) - 1000)
    answer = await call(town, headers)
    receipt = await receipt_of(town, json.loads(answer.body)["error"]["receipt"])

    assert receipt.beyond is not None and 695 <= receipt.beyond <= 710


async def test_no_token_is_stored(town: Town) -> None:
    headers = town.bearer("stranger")
    token = headers["Authorization"].partition(" ")[2]
    for given in (headers["Authorization"], token, f"Bearer {token}x"):
        await call(town, headers | {"Authorization": given})
    await until(lambda: len(town.records("denial-unsigned")) == 2)

    stored = b"".join([*town.records("denial").values(), *town.records("denial-unsigned").values()])
    assert not [part for part in token.split(".") if part.encode() in stored]


async def test_a_caller_has_ten_a_minute_and_the_rest_is_counted(tmp_path: Path) -> None:
    store, clock = await opened(tmp_path / "host.db"), Clock()
    ledger = receipts(store, clock)
    ids = [ledger.note(stranger(), door="skills", caller="") for _ in range(50)]
    clock.at += 61
    ids.append(ledger.note(stranger(), door="skills", caller=""))
    await ledger.close()
    found = await newest(store, 100)

    assert len(found) == PER_CALLER + 1
    assert [receipt.repeated for receipt in found] == [0, 40] + [0] * 9
    assert {receipt.id for receipt in found} == set(ids)
    await store.close()


async def test_a_flood_of_unsigned_tokens_evicts_nobody_else(tmp_path: Path) -> None:
    store, clock = await opened(tmp_path / "host.db"), Clock()
    ledger = receipts(store, clock, keep=20)
    first = ledger.note(stranger(), door="skills", caller="")
    for number in range(5000):
        ledger.note(Denied("no-header"), door="skills", caller=f"10.0.{number // 250}.{number}")
        if number % 200 == 0:
            await ledger._flush()
    await ledger.close()
    found = await newest(store, 10_000)

    assert first in {receipt.id for receipt in found}
    assert len(found) <= 1 + 20 + 2
    await store.close()


async def test_those_who_may_be_anybody_have_a_bound_together(tmp_path: Path) -> None:
    store, clock = await opened(tmp_path / "host.db"), Clock()
    ledger = receipts(store, clock)
    given = [
        ledger.note(Denied("no-header"), door="skills", caller=f"10.0.0.{number}")
        for number in range(PER_MINUTE + 50)
    ]
    await ledger.close()

    assert given.count(None) == 50
    assert len(await newest(store, 10_000)) == PER_MINUTE
    await store.close()


async def test_the_oldest_go_first(tmp_path: Path) -> None:
    store, clock = await opened(tmp_path / "host.db"), Clock()
    ledger = receipts(store, clock, keep=10)
    for number in range(100):
        last = ledger.note(
            Denied("caller-not-allowed", seen=f"app {number}"), door="messages", caller=""
        )
        await ledger._flush()
    found = await newest(store, 100)

    assert found[0].id == last
    assert 10 <= len(found) <= 12
    await store.close()


class Broken:
    """A store that fails, and counts how often it was asked to write."""

    def __init__(self, error: Exception) -> None:
        self.asked = 0
        self._error = error

    async def write(self, changes: list[Change]) -> None:
        self.asked += 1
        raise self._error


@pytest.mark.parametrize("error", [StoreFailed(), OSError(28, "full")])
async def test_a_store_that_fails_costs_receipts_and_no_answers(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    store, clock = Broken(error), Clock()
    ledger = receipts(store, clock)
    ledger.open()
    assert ledger.note(stranger(), door="skills", caller="") is not None
    await until(lambda: store.asked == 1)
    assert ledger.note(stranger(), door="skills", caller="") is not None
    await ledger.close()

    assert store.asked == 2
    assert "were not written" in caplog.text


async def test_following_sees_what_every_process_writes(tmp_path: Path) -> None:
    stores = [await opened(tmp_path / "host.db") for _ in range(3)]
    ledgers = [receipts(store, Clock()) for store in stores[:2]]
    ledgers[1]._random = lambda _: b"\xff\xff\xff\xff"
    seen: list[Receipt] = []
    following = asyncio.create_task(follow_receipts(stores[2], seen.append))
    await asyncio.sleep(0.05)
    ids = {ledger.note(stranger(), door="skills", caller="") for ledger in ledgers}
    for ledger in ledgers:
        await ledger.close()
    await until(lambda: len(seen) == 2)
    following.cancel()

    assert {receipt.id for receipt in seen} == ids
    for store in stores:
        await store.close()


def test_text_of_a_caller_is_kept_short_in_one_line_and_without_tokens() -> None:
    token = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJ4In0abc.c2lnbmF0dXJl"

    assert shown(f"a {token} b\n\x1b[31m") == "a (hidden) b??[31m"
    assert shown("x" * 10_000) == "(hidden)"
    assert len(shown("x " * 10_000)) == 200
    assert shown("eyJ" + "a" * 5000 + ".b.c") == "(hidden)"
    assert shown(IDS["root"]) == IDS["root"]


@pytest.mark.parametrize("code", DENIALS)
def test_a_receipt_of_every_code_comes_back_whole(code: str) -> None:
    receipt = Receipt("0" * 13 + "-" + "0" * 8, 1.5, code, "skills", "me", "a", "b", 3)

    assert Receipt.parse(receipt.encode()) == receipt
    assert receipt.setting and receipt.status == DENIALS[code].status
    assert is_receipt_id(receipt.id)


async def test_a_caller_who_is_known_is_named_whatever_the_reason(town: Town) -> None:
    await town.say("echo")
    url = f"{ROOT}/api/skills/v3/conversations/{town.handle('echo')}/activities"
    request = Request("POST", url, town.bearer("booking"), b'{"type":"message"}', 20)
    error = json.loads((await town.send(request)).body)["error"]
    receipt = await receipt_of(town, error["receipt"])

    assert (receipt.code, receipt.caller) == ("not-conversation-owner", IDS["booking"])
