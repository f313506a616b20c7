"""How many turns a bot takes: of one conversation or one caller, a setting, off by default."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from skills_host import Activity
from skills_host.auth.claims import Identity
from skills_host.bot.rates import bucket_of
from skills_host.settings import Rate
from skills_host.transport import Response
from tests.conftest import open_town
from tests.world import IDS, Town

CHANNEL = Identity("channel", IDS["root"])
SKILL = Identity("skill", IDS["root"], IDS["echo"])


def said(**members: Any) -> Activity:
    document = {
        "type": "message",
        "channelId": "console",
        "conversation": {"id": "c1"},
        "from": {"id": "ann"},
    }
    return Activity.parse(json.dumps(document | members).encode())


@pytest.mark.parametrize(
    ("per", "identity", "members", "same"),
    [
        ("conversation", CHANNEL, {"from": {"id": "bob"}}, True),
        ("conversation", CHANNEL, {"conversation": {"id": "c2"}}, False),
        ("conversation", CHANNEL, {"channelId": "other"}, False),
        ("conversation", SKILL, {"channelId": "other"}, True),
        ("conversation", SKILL, {"conversation": {"id": "c2"}}, False),
        ("caller", CHANNEL, {"conversation": {"id": "c2"}}, True),
        ("caller", CHANNEL, {"from": {"id": "bob"}}, False),
        ("caller", CHANNEL, {"channelId": "other"}, False),
        ("caller", SKILL, {"from": {"id": "bob"}, "conversation": {"id": "c2"}}, True),
    ],
)
def test_a_turn_is_counted_for_its_conversation_or_its_caller(
    per: Any, identity: Identity, members: dict[str, Any], same: bool
) -> None:
    rate = Rate(turns=1, per=per)
    found = [bucket_of(rate, "root", one, identity) for one in (said(), said(**members))]

    assert (found[0] == found[1]) is same
    assert bucket_of(rate, "other", said(), identity) != found[0]


def test_a_calling_bot_is_not_a_channel_of_its_name() -> None:
    for per in ("conversation", "caller"):
        rate = Rate.model_validate({"turns": 1, "per": per})
        named = said(channelId=SKILL.app_id, **{"from": {"id": SKILL.app_id}})
        skill = bucket_of(Rate(turns=1, per="caller"), "root", said(), SKILL)

        assert bucket_of(rate, "root", named, CHANNEL) != skill


@pytest.mark.parametrize(
    "given", [{}, {"turns": 0}, {"turns": 1, "seconds": 0}, {"turns": 1, "per": "x"}]
)
def test_a_rate_has_turns_and_seconds(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Rate.model_validate(given)


async def limited(town: Town, **rate: Any) -> Town:
    return await open_town(town, bot={"rate": {"turns": 2, "seconds": 60, **rate}})


def is_refused(answer: Response) -> bool:
    if answer.status != 429:
        return False
    assert json.loads(answer.body)["error"]["code"] == "rate-limited"
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    return True


async def test_more_turns_than_the_rate_lets_are_rate_limited(empty_town: Town) -> None:
    now, later = empty_town.now, 0.0
    empty_town.now = lambda: now() + later
    town = await limited(empty_town)
    answers = [await town.post(text) for text in ("one", "two", "three")]
    known = len(town.records("inbound"))
    other = await town.post("hello", conversation="c2")
    later = 31.0

    assert [is_refused(answer) for answer in answers] == [False, False, True]
    assert known == 2
    assert other.status == 200
    assert (await town.post("three")).status == 200


async def test_a_caller_is_limited_wherever_it_speaks(empty_town: Town) -> None:
    town = await limited(empty_town, per="caller")
    posts = [await town.post("hello", conversation=f"c{n}") for n in range(3)]
    bob = await town.post("hello", user="bob", conversation="c9")

    assert [is_refused(answer) for answer in posts] == [False, False, True]
    assert bob.status == 200


async def test_who_wants_to_get_out_is_not_held_up(empty_town: Town) -> None:
    town = await limited(empty_town)
    await town.say("echo")
    await town.say("hello")

    assert is_refused(await town.post("hello"))
    assert await town.say("cancel") != []


async def test_of_many_at_once_so_many_are_taken(empty_town: Town) -> None:
    town = await limited(empty_town)
    answers = await asyncio.gather(*(town.post(f"number {n}") for n in range(6)))

    assert Counter(map(is_refused, answers)) == {False: 2, True: 4}


async def test_without_a_rate_nobody_is_limited(town: Town) -> None:
    answers = [await town.post("hello") for _ in range(20)]

    assert {answer.status for answer in answers} == {200}
