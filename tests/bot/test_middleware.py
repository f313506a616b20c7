"""The one fold, for turns coming in and activities going out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from skills_host.bot.middleware import compose

Handler = Callable[[str], Awaitable[str]]


async def echoed(text: str) -> str:
    """The innermost handler of most tests."""
    return f"<{text}>"


async def doubled(text: str, call_next: Handler) -> str:
    """Changes what goes in."""
    return await call_next(text * 2)


async def marked(text: str, call_next: Handler) -> str:
    """Changes what comes out."""
    return f"*{await call_next(text)}"


async def stopped(text: str, call_next: Handler) -> str:
    """Lets nothing through."""
    return "stopped"


async def test_without_layers_it_is_the_handler() -> None:
    assert await compose([], echoed)("a") == "<a>"


async def test_the_first_layer_is_outermost() -> None:
    """It comes first on the way in and last on the way out."""
    seen: list[str] = []

    def layer(name: str) -> Callable[[str, Handler], Awaitable[str]]:
        async def wrapped(text: str, call_next: Handler) -> str:
            seen.append(f"{name} before")
            answer = await call_next(text)
            seen.append(f"{name} after")
            return answer

        return wrapped

    await compose([layer("one"), layer("two")], echoed)("a")

    assert seen == ["one before", "two before", "two after", "one after"]


async def test_a_layer_changes_what_goes_in_and_comes_out() -> None:
    assert await compose([marked, doubled], echoed)("a") == "*<aa>"


async def test_a_layer_that_does_not_go_on_stops() -> None:
    assert await compose([marked, stopped, doubled], echoed)("a") == "*stopped"


async def test_several_arguments_are_passed_on() -> None:
    """A send hook gets the turn and the activity."""

    async def joined(one: str, two: str) -> str:
        return one + two

    async def swapped(one: str, two: str, call_next: Callable[[str, str], Awaitable[str]]) -> str:
        return await call_next(two, one)

    assert await compose([swapped], joined)("a", "b") == "ba"


async def test_layers_may_come_from_an_iterator() -> None:
    composed = compose(iter([marked, doubled]), echoed)

    assert [await composed("a"), await composed("b")] == ["*<aa>", "*<bb>"]


async def test_what_is_composed_can_run_twice_at_once() -> None:
    """No run sees another's arguments."""
    gate = asyncio.Event()

    async def waiting(text: str, call_next: Handler) -> str:
        await gate.wait()
        return await call_next(text)

    composed = compose([waiting, doubled], echoed)
    runs = [asyncio.create_task(composed(text)) for text in "ab"]
    gate.set()

    assert await asyncio.gather(*runs) == ["<aa>", "<bb>"]
