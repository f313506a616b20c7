"""A skill that fails all the time is left alone, and tried again with one call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills_host.consumer.breaker import CLOSED, Breaker, Breakers, is_failure
from skills_host.errors import SkillFailed
from skills_host.store.coordination import Coordination, LocalCoordination, Step
from skills_host.store.redis import RedisCoordination
from skills_host.transport import Response
from tests.conftest import open_town
from tests.store.redis import REDIS, own_prefix
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
    probing = Breaker(failures=2, until=11.0).called(11.0, seconds=60.0)

    assert [probing.is_open(at) for at in (11.0, 70.9, 71.0)] == [True, True, False]
    assert probing.failed(12.0, most=9, seconds=10.0) == Breaker(3, 22.0)
    assert probing.given_up(12.0) == Breaker(2, 12.0)
    assert CLOSED.called(11.0, seconds=60.0) == CLOSED.given_up(11.0) == CLOSED


@given(st.builds(Breaker, st.integers(0, 9), st.floats(0, 1e12), st.booleans()))
def test_a_breaker_is_shared_whole(breaker: Breaker) -> None:
    assert Breaker.parse(breaker.encode()) == breaker
    assert CLOSED.encode() == b""


@pytest.mark.parametrize("raw", [b"", b"{}", b"[1]", b'["x", 1, true]', b"\xff", b"7"])
def test_what_is_no_breaker_is_a_closed_one(raw: bytes) -> None:
    assert Breaker.parse(raw) == CLOSED


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["one", "two", pytest.param("redis", marks=pytest.mark.durability)])
async def pair(
    request: pytest.FixtureRequest, clock: Clock
) -> AsyncIterator[tuple[Breakers, Breakers]]:
    """What a process knows, twice; or what two know that share it."""
    async with AsyncExitStack() as stack:
        here: Coordination = LocalCoordination()
        there = here
        if request.param == "redis":
            prefix = await stack.enter_async_context(own_prefix())
            here = RedisCoordination(REDIS, prefix=prefix, name="here")
            there = RedisCoordination(REDIS, prefix=prefix, name="there")
        for one in {here, there}:
            await one.open()
            stack.push_async_callback(one.close)
        first = Breakers("root", coordination=here, now=clock, most=2, seconds=10.0)
        second = Breakers("root", coordination=there, now=clock, most=2, seconds=10.0)
        yield first, first if request.param == "one" else second


async def left_alone(breakers: Breakers, skill: str = "echo") -> bool:
    """True if the skill is not called; a call that begins with this never ends."""
    try:
        await breakers.begin(skill)
    except SkillFailed as exc:
        assert exc.code == "skill-left-alone"
        return True
    return False


async def learns(breakers: Breakers, *, alone: bool) -> None:
    """Wait until it knows that the skill is to be left alone, or not."""
    async with asyncio.timeout(10):
        while await left_alone(breakers) is not alone:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)


async def test_failures_of_all_open_it_for_all(pair: tuple[Breakers, Breakers]) -> None:
    here, there = pair
    assert not await left_alone(here) and not await left_alone(there)
    await here.failed("echo")
    await there.failed("echo")

    await learns(here, alone=True)
    await learns(there, alone=True)
    assert not await left_alone(there, "booking")
    assert there.states() == {"echo": 2, "booking": 0}


async def test_of_all_only_one_tries(pair: tuple[Breakers, Breakers], clock: Clock) -> None:
    here, there = pair
    for breakers in pair:
        await breakers.failed("echo")
        await left_alone(breakers)
    for breakers in pair:
        await learns(breakers, alone=True)
    clock.at += 10
    tries = await asyncio.gather(*(left_alone(one) for one in (here, there, here, there)))

    assert sorted(tries) == [False, True, True, True]
    assert here.states()["echo"] == 1


async def test_an_answer_closes_it_for_all(pair: tuple[Breakers, Breakers], clock: Clock) -> None:
    here, there = pair
    for breakers in pair:
        await breakers.failed("echo")
    await learns(there, alone=True)
    clock.at += 10
    assert not await left_alone(here)
    await here.succeeded("echo")

    await learns(there, alone=False)
    await learns(here, alone=False)
    assert here.states() == there.states() == {"echo": 0}


async def test_a_call_that_tells_nothing_lets_the_next_one_try(
    pair: tuple[Breakers, Breakers], clock: Clock
) -> None:
    here, there = pair
    await here.failed("echo")
    await here.failed("echo")
    clock.at += 10
    assert not await left_alone(here)
    assert await left_alone(there)
    await here.given_up("echo")

    await learns(there, alone=False)
    assert await left_alone(here)


async def test_a_try_whose_process_died_is_over_with_its_time(
    pair: tuple[Breakers, Breakers], clock: Clock
) -> None:
    here, there = pair
    await here.failed("echo")
    await here.failed("echo")
    clock.at += 10
    await here.begin("echo", seconds=5.0)
    assert await left_alone(there)
    clock.at += 5

    assert not await left_alone(there)


async def test_a_skill_that_is_well_costs_nothing_to_ask_for(clock: Clock) -> None:
    class Counted(LocalCoordination):
        changes = 0

        async def change(self, key: str, step: Step, *, seconds: float) -> bytes:
            self.changes += 1
            return await super().change(key, step, seconds=seconds)

    coordination = Counted()
    breakers = Breakers("root", coordination=coordination, now=clock, most=2, seconds=10.0)
    for _ in range(9):
        await breakers.begin("echo")
        await breakers.succeeded("echo")
        await breakers.given_up("echo")

    assert coordination.changes == 1


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
