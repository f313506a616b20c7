"""A skill that fails all the time is left alone, and tried again with one call."""

from __future__ import annotations

import asyncio

import pytest

from skills_host.consumer.breaker import CLOSED, Breaker, Breakers, is_failure
from skills_host.errors import SkillFailed
from skills_host.transport import Response
from tests.conftest import open_town
from tests.world import SKILLS, Hold, Town

LEFT_ALONE = "echo is not available right now. Please try again later."


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (SkillFailed(code="unreachable"), True),
        (SkillFailed(code="deadline"), True),
        (SkillFailed(answered=502), True),
        (SkillFailed(answered=503), True),
        (SkillFailed(answered=504), True),
        (SkillFailed(answered=500), False),
        (SkillFailed(answered=403), False),
        (SkillFailed(code="skill-cancelled"), False),
        (SkillFailed(code="token-unavailable"), False),
    ],
)
def test_only_a_skill_in_trouble_counts(error: SkillFailed, counts: bool) -> None:
    assert is_failure(error) is counts


def test_a_breaker_opens_after_failures_in_a_row() -> None:
    once = CLOSED.failed(0.0, most=2, seconds=10.0)
    twice = once.failed(1.0, most=2, seconds=10.0)

    assert not once.is_open(0.0)
    assert [twice.is_open(at) for at in (1.0, 10.9, 11.0)] == [True, True, False]


def test_one_call_at_a_time_is_let_through_when_its_time_is_over() -> None:
    probing = Breaker(failures=2, until=11.0).called(11.0)

    assert probing.is_open(11.0)
    assert probing.failed(12.0, most=9, seconds=10.0) == Breaker(3, 22.0)


def test_a_call_that_tells_nothing_lets_the_next_one_try() -> None:
    clock = Clock()
    breakers = Breakers(now=clock, most=1, seconds=10.0)
    breakers.failed("echo")
    clock.at += 10
    breakers.begin("echo")
    with pytest.raises(SkillFailed, match="left alone"):
        breakers.begin("echo")
    breakers.given_up("echo")

    breakers.begin("echo")
    breakers.succeeded("echo")
    breakers.begin("echo")
    breakers.begin("echo")


def test_skills_do_not_share_a_breaker() -> None:
    breakers = Breakers(now=Clock(), most=1, seconds=10.0)
    breakers.failed("echo")

    breakers.begin("booking")


async def test_users_are_told_at_once_and_the_skill_is_not_called(empty_town: Town) -> None:
    await open_town(empty_town, limits={"breaker_failures": 2, "breaker_seconds": 60})
    empty_town.send.faults[SKILLS["echo"]] = lambda _: Response(502)
    for _ in range(3):
        await empty_town.post("echo")
    known = len(empty_town.to_skill("echo"))
    await empty_town.post("echo")

    assert empty_town.said() == [LEFT_ALONE] * 4
    assert len(empty_town.to_skill("echo")) == known
    assert (await empty_town.say("booking"))[-1].startswith("Where")


async def test_a_skill_that_has_recovered_is_used_again(empty_town: Town) -> None:
    now, later = empty_town.now, 0.0
    empty_town.now = lambda: now() + later
    await open_town(empty_town, limits={"breaker_failures": 1, "breaker_seconds": 60})
    empty_town.send.faults[SKILLS["echo"]] = lambda _: Response(504)
    await empty_town.post("echo")
    empty_town.send.faults.clear()
    await empty_town.post("echo")
    later = 61

    assert (await empty_town.say("echo"))[-1] == "Echo: echo"
    assert empty_town.said() == [LEFT_ALONE, LEFT_ALONE, "Echo: echo"]


async def test_two_at_once_send_one_probe(empty_town: Town) -> None:
    now, later = empty_town.now, 0.0
    empty_town.now = lambda: now() + later
    await open_town(empty_town, limits={"breaker_failures": 1, "breaker_seconds": 60})
    empty_town.send.faults[SKILLS["echo"]] = lambda _: Response(504)
    await empty_town.post("echo")
    hold = empty_town.send.faults[SKILLS["echo"]] = Hold()
    later = 61
    probing = asyncio.create_task(empty_town.post("echo"))
    await hold.arrived.wait()

    assert await empty_town.say("echo", user="bob", conversation="c2") == [LEFT_ALONE]
    hold.go.set()
    assert (await probing).status == 200
