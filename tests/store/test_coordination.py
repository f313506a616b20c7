"""Wake-ups between those who wait: the same for every implementation, and what only Redis has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from skills_host.errors import SettingsError, SkillsHostError
from skills_host.store import redis
from skills_host.store.coordination import POLL, Coordination, LocalCoordination, woken
from skills_host.store.redis import CALM, RedisCoordination, pause_before
from tests.store.redis import REDIS, Line, line_to_redis, own_prefix

Pair = tuple[Coordination, Coordination]


@pytest.fixture(params=["local", pytest.param("redis", marks=pytest.mark.durability)])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    """Two that should hear of each other, open; without Redis that is one and the same."""
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
        yield here, there


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with line_to_redis() as opened:
        yield opened


@pytest.fixture
async def over_line(line: Line) -> AsyncIterator[Pair]:
    """One that reaches Redis over the line, and one that reaches it always."""
    async with own_prefix() as prefix:
        here = RedisCoordination(line.url, prefix=prefix, name="here")
        there = RedisCoordination(REDIS, prefix=prefix, name="there")
        await asyncio.gather(here.open(), there.open())
        yield here, there
        await asyncio.gather(here.close(), there.close())


class Ear:
    """Listens to one topic."""

    def __init__(self, coordination: Coordination, topic: str) -> None:
        self.event = asyncio.Event()
        self.times = 0
        self.stop = coordination.listen(topic, self)

    def __call__(self) -> None:
        self.times += 1
        self.event.set()

    async def hears(self) -> None:
        """Wait until it hears something."""
        async with asyncio.timeout(10):
            await self.event.wait()
        self.event.clear()


async def listening(coordination: Coordination, topic: str) -> Ear:
    """An ear that has begun to listen; with Redis it is told so."""
    ear = Ear(coordination, topic)
    if isinstance(coordination, RedisCoordination):
        await ear.hears()
    return ear


async def is_away(coordination: Coordination) -> bool:
    try:
        await coordination.probe()
    except SkillsHostError as exc:
        assert exc.code == "coordination-away"
        return True
    return False


async def turns(coordination: Coordination, *, away: bool) -> None:
    """Wait until it has found out that Redis is away, or there again."""
    async with asyncio.timeout(20):
        while await is_away(coordination) is not away:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)


async def test_who_listens_is_woken(pair: Pair) -> None:
    here, there = pair
    ear, other = await listening(here, "a"), await listening(here, "b")
    heard = other.times
    there.wake("a")
    await ear.hears()

    assert other.times == heard


async def test_two_listeners_of_one_topic_are_both_woken(pair: Pair) -> None:
    here, there = pair
    ears = [await listening(here, "a"), Ear(here, "a"), await listening(there, "a")]
    there.wake("a")

    await asyncio.gather(*(ear.hears() for ear in ears))


async def test_who_has_stopped_listening_hears_nothing(pair: Pair) -> None:
    here, there = pair
    gone, stays = await listening(here, "a"), await listening(here, "b")
    gone.stop()
    heard = gone.times
    there.wake("a")
    there.wake("b")
    await stays.hears()

    assert gone.times == heard


async def test_one_that_listens_again_is_woken_again(pair: Pair) -> None:
    here, there = pair
    (await listening(here, "a")).stop()
    ear = Ear(here, "a")
    there.wake("a")
    await ear.hears()
    ear.stop()
    await listening(here, "b")
    again = await listening(here, "a")
    heard = again.times
    there.wake("a")
    await again.hears()

    assert again.times > heard


async def test_topics_may_be_long_and_in_any_script(pair: Pair) -> None:
    here, there = pair
    topic = "lane/" + "é:☃ " * 1000
    ear = await listening(here, topic)
    there.wake(topic)

    await ear.hears()


async def test_one_that_is_there_says_nothing(pair: Pair) -> None:
    assert [await is_away(one) for one in pair] == [False, False]


async def test_without_others_one_looks_often() -> None:
    assert LocalCoordination.patience == POLL <= 0.25


async def test_waiting_ends_by_itself_and_begins_anew() -> None:
    event = asyncio.Event()
    await woken(event, within=0.0)
    event.set()
    await woken(event, within=10.0)

    assert not event.is_set()


async def test_a_cancelled_wait_leaves_the_event_alone() -> None:
    event = asyncio.Event()
    waiting = asyncio.create_task(woken(event, within=10.0))
    await asyncio.sleep(0)
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_pauses_grow_and_end_somewhere() -> None:
    pauses = [pause_before(trial) for trial in range(100)]

    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.1, 5.0)


def test_an_absent_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis, "Redis", None)

    with pytest.raises(SettingsError, match=r"coordination\.url.*skills-host\[redis\]"):
        RedisCoordination("redis://127.0.0.1/0", prefix="x", name="here")


async def test_one_that_cannot_be_reached_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """And the password is in no log line."""
    away = RedisCoordination("redis://u:hunter2@127.0.0.1:1/0", prefix="x", name="here")
    await away.open()
    ear = Ear(away, "a")
    away.wake("a")

    assert (await is_away(away), away.patience, ear.times) == (True, POLL, 1)
    await away.close()
    assert "Redis is away" in caplog.text
    assert "hunter2" not in caplog.text + repr(away)


async def test_what_answers_nonsense_is_away() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        one = RedisCoordination(f"redis://127.0.0.1:{port}/0", prefix="x", name="here")
        await one.open()

        assert await is_away(one)
        await one.close()


# What only Redis has


@pytest.mark.durability
async def test_a_lost_line_wakes_all_who_wait_and_is_mended(over_line: Pair, line: Line) -> None:
    here, there = over_line
    ear = await listening(here, "a")
    assert here.patience == CALM
    await line.cut()
    await ear.hears()
    await turns(here, away=True)
    there.wake("a")
    assert here.patience == POLL

    await line.mend()
    await turns(here, away=False)
    await ear.hears()
    there.wake("a")
    await ear.hears()
    assert here.patience == CALM


@pytest.mark.durability
async def test_what_is_told_while_it_is_away_is_lost_without_harm(
    over_line: Pair, line: Line
) -> None:
    here, there = over_line
    far = await listening(there, "a")
    await line.cut()
    await turns(here, away=True)
    heard = far.times
    near = Ear(here, "a")
    here.wake("a")

    assert (near.times, far.times) == (1, heard)
    await line.mend()
    await turns(here, away=False)
    here.wake("a")
    await far.hears()


@pytest.mark.durability
@pytest.mark.filterwarnings("default::ResourceWarning")
async def test_a_line_that_swallows_everything_is_found_out(
    over_line: Pair, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, _ = over_line
    ear = await listening(here, "a")
    line.swallow()
    await turns(here, away=True)

    await ear.hears()
    await line.cut()
    await line.mend()
    await turns(here, away=False)


@pytest.mark.durability
async def test_what_was_told_last_is_told_before_it_closes() -> None:
    async with own_prefix() as prefix:
        here = RedisCoordination(REDIS, prefix=prefix, name="here")
        there = RedisCoordination(REDIS, prefix=prefix, name="there")
        await asyncio.gather(here.open(), there.open())
        ear = await listening(there, "a")
        here.wake("a")
        await here.close()

        await ear.hears()
        await there.close()


@pytest.mark.durability
async def test_others_with_another_prefix_hear_nothing() -> None:
    async with own_prefix() as one, own_prefix() as other:
        here = RedisCoordination(REDIS, prefix=one, name="here")
        there = RedisCoordination(REDIS, prefix=other, name="there")
        await asyncio.gather(here.open(), there.open())
        strange, own = await listening(there, "a"), await listening(here, "a")
        heard = strange.times
        third = RedisCoordination(REDIS, prefix=one, name="third")
        await third.open()
        third.wake("a")
        await own.hears()

        assert strange.times == heard
        for each in (here, there, third):
            await each.close()


@pytest.mark.durability
async def test_a_thousand_topics_at_once(over_line: Pair) -> None:
    here, there = over_line
    ears = [Ear(here, f"t{n}") for n in range(1000)]
    await asyncio.gather(*(ear.hears() for ear in ears))
    for n in range(1000):
        there.wake(f"t{n}")

    await asyncio.gather(*(ear.hears() for ear in ears))
