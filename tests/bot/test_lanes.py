"""Lanes: who is next in a session, on every implementation of the store."""

from __future__ import annotations

import asyncio

import pytest

from skills_host.bot.lanes import Lanes
from skills_host.errors import TooBusy
from skills_host.store.records import Store
from tests.store.conftest import clock, store
from tests.world import until

__all__ = ["clock", "store"]


async def joined(store: Store, lanes: Lanes, key: str, *, session: str = "s") -> int:
    (place,) = await store.write([lanes.join(session, key, expires=5000.0)])
    return place


async def left(store: Store, lanes: Lanes, place: int) -> None:
    await store.write([lanes.leave("s", place)])
    lanes.left("s")


async def test_the_first_goes_at_once(store: Store) -> None:
    lanes = Lanes(store, most=9)

    assert await joined(store, lanes, "a") == 1
    await lanes.next("s", 1)


async def test_others_wait_for_those_before_them(store: Store) -> None:
    lanes, gone = Lanes(store, most=9), []

    async def go(key: str, place: int) -> None:
        await lanes.next("s", place)
        gone.append(key)
        await left(store, lanes, place)

    places = {key: await joined(store, lanes, key) for key in "abc"}
    later = [asyncio.create_task(go(key, places[key])) for key in "cb"]
    await asyncio.sleep(0)
    assert gone == []
    await go("a", places["a"])
    await asyncio.gather(*later)

    assert gone == ["a", "b", "c"]
    assert lanes._here == {}


async def test_turns_of_another_process_are_waited_for(store: Store) -> None:
    here, there, gone = Lanes(store, most=9), Lanes(store, most=9), []
    first, second = await joined(store, there, "a"), await joined(store, here, "b")

    async def go() -> None:
        await here.next("s", second)
        gone.append("b")

    waiting = asyncio.create_task(go())
    await there.next("s", first)
    assert gone == []
    await left(store, there, first)
    await waiting

    assert gone == ["b"]


async def test_sessions_do_not_wait_for_each_other(store: Store) -> None:
    """Not even where one is named like the beginning of the other."""
    lanes = Lanes(store, most=9)
    await joined(store, lanes, "a", session="bot/c1")

    assert await joined(store, lanes, "b", session="bot/c1/ann") == 1
    assert await joined(store, lanes, "c", session="bot/c1") == 2
    assert await lanes.place_of("bot/c1", "c") == 2
    assert await lanes.place_of("bot/c1", "b") is None


async def test_a_cancelled_waiter_leaves_nothing_behind(store: Store) -> None:
    lanes = Lanes(store, most=9)
    first, second = await joined(store, lanes, "a"), await joined(store, lanes, "b")
    waiting = asyncio.create_task(lanes.next("s", second))
    await until(lambda: bool(lanes._here))
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert (first, lanes._here) == (1, {})


async def test_too_busy_where_too_many_wait(store: Store) -> None:
    lanes = Lanes(store, most=1)
    await joined(store, lanes, "a")
    place = await joined(store, lanes, "b")
    waiting = asyncio.create_task(lanes.next("s", place))
    await until(lambda: bool(lanes._here))

    with pytest.raises(TooBusy):
        lanes.join("s", "c", expires=1.0)
    lanes.join("t", "c", expires=1.0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
