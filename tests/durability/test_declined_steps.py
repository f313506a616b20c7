"""A root that dies at each step of a turn whose words one skill declines and another gets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import skills_host.app
from skills_host import Turn
from tests.consumer.roots import EXPECT_REPLIES
from tests.durability.test_steps import LIMITS, SAFE, Counting, Mortal, delivered
from tests.world import REPLICA, ROOT, Town, until

pytestmark = pytest.mark.durability

CALLED = ["write", "write", "send", "write", "write", "send", "send", "write"]
MODES: dict[str, dict[str, str]] = {"normal": {}, "expectReplies": EXPECT_REPLIES}
STEPS = {"normal": [*CALLED, "write"], "expectReplies": CALLED}
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


Start = Callable[[dict[str, str]], Awaitable[tuple[Mortal, Declining, Counting]]]


@pytest.fixture
async def start(empty_town: Town, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Starts two skills, a mortal root and its replica."""
    monkeypatch.setattr(skills_host.app, "ROUND_SECONDS", 0.02)
    mortal, echo, booking = Mortal(empty_town, monkeypatch), Declining(), Counting()

    async def start(more: dict[str, str]) -> tuple[Mortal, Declining, Counting]:
        await empty_town.start_skill("echo", echo)
        await empty_town.start_skill("booking", booking)
        skills = {
            "echo": {**more, "phrases": ["not mine"]},
            "booking": {**more, "phrases": ["mine"]},
        }
        given: dict[str, Any] = {
            "limits": LIMITS,
            "echo": skills["echo"],
            "booking": skills["booking"],
        }
        await empty_town.start_root(send=mortal.send, **given)
        await empty_town.start_root(base=REPLICA, **given)
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
