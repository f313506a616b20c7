"""A root that dies at each step of a turn whose words one skill declines and another gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import skills_host.app
from skills_host import Turn
from skills_host.errors import TransportFailed
from skills_host.transport import Request, Response
from tests.consumer.roots import EXPECT_REPLIES
from tests.durability.test_steps import LIMITS, SAFE, Counting, Mortal, delivered
from tests.world import REPLICA, ROOT, Town, until

pytestmark = pytest.mark.durability

CALLED = ["write", "write", "send", "write", "write", "send", "send", "write"]
MODES: dict[str, dict[str, str]] = {"normal": {}, "expectReplies": EXPECT_REPLIES}
STEPS = {"normal": [*CALLED, "write", "write"], "expectReplies": CALLED}
DEATHS = [
    (mode, f"{when} {n} {step}")
    for mode, steps in STEPS.items()
    for n, step in enumerate(steps, 1)
    for when in ("before", "after")
]


class Declining(Counting):
    """A skill for which some words are not."""

    def __init__(self) -> None:
        super().__init__()
        self.on_message("not mine")(self._decline)

    async def _decline(self, turn: Turn) -> None:
        self.heard.append(turn.text)
        await turn.end({"reroute": True})


Start = Callable[..., Awaitable[tuple[Mortal, Declining, Counting]]]
NOT_MINE: dict[str, Any] = {"phrases": ["not mine"]}
MINE: dict[str, Any] = {"phrases": ["mine"]}
THIRD = "http://127.0.0.1:9006"


@pytest.fixture
async def start(empty_town: Town, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Starts two skills, a mortal root and its replica."""
    monkeypatch.setattr(skills_host.app, "ROUND_SECONDS", 0.02)
    mortal, echo, booking = Mortal(empty_town, monkeypatch), Declining(), Counting()

    async def start(
        more: dict[str, str], second: Mortal | None = None
    ) -> tuple[Mortal, Declining, Counting]:
        if second is not None:
            second.after = mortal
        await empty_town.start_skill("echo", echo)
        await empty_town.start_skill("booking", booking)
        skills = {
            "echo": more | NOT_MINE,
            "booking": more | MINE,
        }
        given: dict[str, Any] = {
            "limits": LIMITS,
            "echo": skills["echo"],
            "booking": skills["booking"],
        }
        await empty_town.start_root(send=mortal.send, **given)
        if second is None:
            await empty_town.start_root(base=REPLICA, **given)
        else:
            await empty_town.start_root(base=REPLICA, send=second.send, **given)
        empty_town.send.faults[ROOT] = mortal.to_root
        mortal.is_counting = True
        return mortal, echo, booking

    yield start
    mortal.store = None
    mortal.died.clear()


@pytest.mark.parametrize(("mode", "dies_at"), [*((mode, "") for mode in STEPS), *DEATHS])
async def test_declined_words_are_answered_once(
    empty_town: Town, start: Start, mode: str, dies_at: str
) -> None:
    """By the other skill, which has the floor then; also where nobody dies."""
    mortal, echo, booking = await start(SAFE | MODES[mode])
    mortal.dies_at = dies_at
    await delivered(empty_town, "not mine")
    mortal.is_counting = False
    await until(empty_town.said)
    await delivered(empty_town, "on")
    await until(lambda: "heard on" in empty_town.said())

    assert mortal.died.is_set() if dies_at else mortal.steps == STEPS[mode]
    assert empty_town.said() == ["heard not mine", "heard on"]
    assert (echo.heard, booking.heard) == (["not mine"], ["not mine", "on"])


@pytest.mark.parametrize(("mode", "dies_at"), DEATHS)
async def test_skills_that_must_not_get_declined_words_twice_get_them_once_at_most(
    empty_town: Town, start: Start, mode: str, dies_at: str
) -> None:
    """The user gets the answer, or is told that there is none; the next message works."""
    mortal, echo, booking = await start(MODES[mode])
    mortal.dies_at = dies_at
    await delivered(empty_town, "not mine")
    mortal.is_counting = False
    await delivered(empty_town, "@booking bye")
    await until(lambda: "heard bye" in empty_town.said())
    said = empty_town.said()
    is_told = [text for text in said if "lost my thread" in text]

    assert mortal.died.is_set(), mortal.steps
    assert said == [*(is_told or ["heard not mine"]), "heard bye"]
    assert echo.heard in (["not mine"], [])
    assert booking.heard in (["not mine", "bye"], ["bye"])


# A replica finds that the turn waits for an end that a dead process was to tell of, and notes that
# it does; it takes the floor from the skill that may have had the words, notes that it sends once
# more and says that they are lost, tells the skill, and is done: with the end, and with the turn.
# Where it dies between the note and the end of its sending, nobody sends a third time.
TOLD = [f"{when} {n} write" for n in (2, 3, 7, 8) for when in ("before", "after")]
TOLD += ["before 4 write", "after 6 send"]


@pytest.mark.parametrize("dies_at", TOLD)
async def test_whoever_dies_while_it_tells_of_lost_words_they_are_told_of(
    empty_town: Town, monkeypatch: pytest.MonkeyPatch, start: Start, dies_at: str
) -> None:
    """Two roots die, one after the other; the third tells what is not told yet."""
    second = Mortal(empty_town, monkeypatch)
    mortal, _, booking = await start({}, second)
    second.is_counting = True
    mortal.dies_at, second.dies_at = "after 5 write", dies_at

    async def to_root(request: Request) -> Response | None:
        if not second.died.is_set():
            return await (second if mortal.died.is_set() else mortal).to_root(request)
        if THIRD in empty_town.send.apps:
            return await empty_town.send._served(empty_town.send.apps[THIRD], request)
        raise TransportFailed(code="unreachable", sent=False)

    empty_town.send.faults[ROOT] = to_root
    taken = asyncio.create_task(delivered(empty_town, "not mine"))
    await asyncio.wait_for(second.died.wait(), 10)
    await empty_town.start_root(base=THIRD, limits=LIMITS, echo=NOT_MINE, booking=MINE)
    await taken
    await delivered(empty_town, "@booking bye")
    await until(lambda: "heard bye" in empty_town.said())
    second.store = None
    second.died.clear()
    lost, *rest = empty_town.said()

    assert "lost my thread" in lost, second.steps
    assert rest == ["heard bye"]
    assert booking.heard == ["bye"]
