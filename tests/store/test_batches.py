"""What is asked for at once is done together, in order, and everybody is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from skills_host.store.batches import Batches


class Doubling:
    """Work that doubles numbers once it may go on; refuses 13, and breaks at 0."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.go.set()
        self.batches: list[list[int]] = []

    async def __call__(self, asked: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(asked))
        await self.go.wait()
        if 0 in asked:
            raise ZeroDivisionError
        return [KeyError(n) if n == 13 else 2 * n for n in asked]


@pytest.fixture
def work() -> Doubling:
    return Doubling()


async def test_what_is_asked_at_once_is_one_batch(work: Doubling) -> None:
    batches = Batches(work, most=10)

    assert await asyncio.gather(*(batches.ask(n) for n in (1, 2, 3))) == [2, 4, 6]
    assert work.batches == [[1, 2, 3]]


async def test_what_is_asked_meanwhile_is_the_next_batch(work: Doubling) -> None:
    work.go.clear()
    batches = Batches(work, most=10)
    asked = [batches.ask(1)]
    await asyncio.sleep(0)
    asked += [batches.ask(2), batches.ask(3)]
    await asyncio.sleep(0)
    work.go.set()
    await asyncio.gather(*asked)

    assert work.batches == [[1], [2, 3]]


async def test_a_batch_has_an_end_and_keeps_the_order(work: Doubling) -> None:
    batches = Batches(work, most=2)
    await asyncio.gather(*(batches.ask(n) for n in range(1, 6)))

    assert work.batches == [[1, 2], [3, 4], [5]]


async def test_one_that_is_refused_leaves_the_others_answered(work: Doubling) -> None:
    batches = Batches(work, most=10)
    first, refused, last = (batches.ask(n) for n in (1, 13, 2))

    assert (await first, await last) == (2, 4)
    with pytest.raises(KeyError):
        await refused


async def test_a_batch_that_breaks_is_raised_by_all_and_the_next_goes_on(work: Doubling) -> None:
    batches = Batches(work, most=2)
    asked = [batches.ask(n) for n in (0, 1, 2)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError, ZeroDivisionError, int]


async def test_who_stops_waiting_stops_nothing(work: Doubling) -> None:
    batches = Batches(work, most=10)
    gone, stays = batches.ask(1), batches.ask(2)
    gone.cancel()

    assert await stays == 4
    assert work.batches == [[1, 2]]


async def test_finishing_waits_for_all_that_was_asked(work: Doubling) -> None:
    work.go.clear()
    batches = Batches(work, most=1)
    asked = [batches.ask(n) for n in (1, 2)]
    finishing = asyncio.create_task(batches.finish())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not finishing.done()
    work.go.set()
    await finishing

    assert [future.done() for future in asked] == [True, True]
    await batches.finish()
