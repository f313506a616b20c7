"""Wake-ups between those who wait: the same for every implementation, and what only Redis has."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills_host.errors import SettingsError, SkillsHostError
from skills_host.store import coordination, redis
from skills_host.store.coordination import POLL, Bucket, Coordination, LocalCoordination, woken
from skills_host.store.redis import CALM, RedisCoordination, pause_before
from skills_host.telemetry import COORDINATION, Telemetry
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
    telemetry, url = Telemetry(), "redis://u:hunter2@127.0.0.1:1/0"
    away = RedisCoordination(url, prefix="x", name="here", telemetry=telemetry)
    await away.open()
    ear = Ear(away, "a")
    away.wake("a")

    assert (await is_away(away), away.patience, ear.times) == (True, POLL, 1)
    assert [series.value for series in dict(telemetry.recorded())[COORDINATION]] == [0.0]
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


# What is shared


async def test_changes_at_once_do_not_undo_each_other(pair: Pair) -> None:
    def more(raw: bytes) -> bytes:
        return raw + b"x"

    both = [one.change("a", more, seconds=60.0) for one in pair for _ in range(5)]
    await asyncio.gather(*both)

    assert await pair[0].change("a", lambda raw: raw, seconds=60.0) == b"x" * 10
    assert await pair[1].change("b", lambda raw: raw, seconds=60.0) == b""


async def test_what_is_changed_to_nothing_is_gone(pair: Pair) -> None:
    here, there = pair
    await here.change("a", lambda _: b"\x00 \xff", seconds=60.0)

    assert await there.change("a", lambda raw: raw, seconds=60.0) == b"\x00 \xff"
    assert await there.change("a", lambda _: b"", seconds=60.0) == b""
    assert await here.change("a", lambda raw: raw + b"new", seconds=60.0) == b"new"


async def test_a_bucket_is_shared_and_fills_again(pair: Pair) -> None:
    async def take(one: Coordination, now: float, bucket: str = "a") -> float:
        return await one.take(bucket, burst=2, seconds=10.0, now=now)

    here, there = pair
    assert [await take(here, 100.0), await take(there, 100.0)] == [0.0, 0.0]
    assert [await take(here, 100.0), await take(there, 102.0)] == [5.0, 3.0]
    assert await take(there, 100.0, "b") == 0.0
    assert [await take(here, 105.0), await take(there, 105.0)] == [0.0, 5.0]
    # A clock that is behind gives nothing.
    assert await take(here, 99.0) == 5.0


async def test_of_a_bucket_nothing_is_given_twice(pair: Pair) -> None:
    asked = [one.take("a", burst=5, seconds=60.0, now=100.0) for one in pair for _ in range(10)]
    waits = await asyncio.gather(*asked)

    assert sum(wait == 0 for wait in waits) == 5


async def test_a_process_keeps_so_many_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordination, "BUCKETS", 2)
    one = LocalCoordination()
    for bucket in "aabc":
        await one.take(bucket, burst=1, seconds=60.0, now=100.0)

    assert [await one.take(b, burst=1, seconds=60.0, now=100.0) for b in "ca"] == [60.0, 0.0]


@given(
    st.integers(1, 5),
    st.floats(0.5, 100),
    st.lists(st.floats(0, 50), max_size=30),
)
def test_a_bucket_never_gives_more_than_it_has(
    burst: int, seconds: float, times: list[float]
) -> None:
    bucket, given_away = Bucket(burst, 0.0), 0
    for now in times:
        bucket, wait = bucket.taken(burst=burst, seconds=seconds, now=now)
        given_away += wait == 0
        assert wait <= seconds / burst + 1e-6
        again, _ = bucket.taken(burst=burst, seconds=seconds, now=max(now, bucket.at) + wait + 1e-6)
        assert wait == 0 or again != bucket

    assert given_away <= burst + max(times, default=0.0) * burst / seconds + 1e-6


@pytest.mark.durability
async def test_redis_counts_as_a_process_does() -> None:
    """The script in Redis, and the rule that it repeats."""
    chance = random.Random(5)
    async with own_prefix() as prefix:
        one = RedisCoordination(REDIS, prefix=prefix, name="here")
        await one.open()
        for n in range(20):
            burst, seconds, own = chance.randint(1, 4), chance.uniform(5, 50), LocalCoordination()
            for _ in range(20):
                now = 1.7e9 + chance.uniform(0, 30)
                shared = await one.take(f"b{n}", burst=burst, seconds=seconds, now=now)
                alone = await own.take(f"b{n}", burst=burst, seconds=seconds, now=now)
                assert shared == pytest.approx(alone, abs=1e-9)
        await one.close()


@pytest.mark.durability
async def test_without_redis_what_is_shared_is_ones_own(over_line: Pair, line: Line) -> None:
    here, there = over_line
    await here.change("a", lambda _: b"known", seconds=60.0)
    await here.take("b", burst=1, seconds=60.0, now=100.0)
    await line.cut()
    await turns(here, away=True)

    assert await here.change("a", lambda raw: raw, seconds=60.0) == b"known"
    assert await here.take("b", burst=1, seconds=60.0, now=100.0) == 0.0
    assert await here.take("b", burst=1, seconds=60.0, now=100.0) == 60.0
    assert await there.take("b", burst=1, seconds=60.0, now=100.0) == 60.0


def test_the_name_in_a_certificate_is_looked_at() -> None:
    one = RedisCoordination("rediss://cache.example/0", prefix="x", name="here")
    kept = one._client.connection_pool.connection_kwargs

    assert (kept["ssl_check_hostname"], kept.get("ssl_cert_reqs", "required")) == (True, "required")
