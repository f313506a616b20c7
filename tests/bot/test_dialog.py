"""Multi-turn steps: asking, asking again, and going on after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from skills_host.bot.dialog import PROPERTY, Dialog, Retry, Step
from skills_host.bot.handlers import Bot
from skills_host.bot.turn import Turn
from skills_host.store.records import Store
from tests.conversing import Chat, opened


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An open store."""
    async with opened(tmp_path) as store:
        yield store


def number(text: str) -> int:
    """A number, or the question again."""
    if not text.isdigit():
        raise Retry("A number, please.")
    return int(text)


SIZE = Step("size", ask="How big?", accept=number)
COLOUR = Step("colour", ask=lambda answers: f"Which colour for {answers['size']}?")


def painter(steps: Sequence[Step] = (SIZE, COLOUR)) -> Bot:
    """A bot that asks for size and colour, whatever is said to it first."""
    bot = Bot()

    async def finish(turn: Turn, answers: dict[str, Any]) -> None:
        assert await turn.state.get(PROPERTY) is None
        await turn.send(f"done: {answers}")

    dialog = bot.add(Dialog("paint", steps, finish=finish))
    bot.on_message(dialog.begin)

    @bot.on_event("paint")
    async def prefilled(turn: Turn) -> None:
        await dialog.begin(turn, turn.activity.value)

    return bot


async def test_each_step_is_asked_in_order(store: Store) -> None:
    chat = Chat(painter(), store)

    assert await chat.say("hello") == ["How big?"]
    assert await chat.say("7") == ["Which colour for 7?"]
    assert await chat.say("red") == ["done: {'size': 7, 'colour': 'red'}"]


async def test_an_unusable_answer_is_asked_again(store: Store) -> None:
    """As often as it takes."""
    chat = Chat(painter(), store)
    await chat.say("hello")

    assert [await chat.say(text) for text in ("big", "", "-7")] == [["A number, please."]] * 3
    assert await chat.say("7") == ["Which colour for 7?"]


async def test_it_goes_on_after_a_restart(store: Store) -> None:
    """What is stored is data only."""
    await Chat(painter(), store).say("hello")
    await Chat(painter(), store).say("7")

    assert await Chat(painter(), store).say("red") == ["done: {'size': 7, 'colour': 'red'}"]


async def test_it_can_begin_again_when_done(store: Store) -> None:
    chat = Chat(painter(), store)
    for text in ("hello", "7", "red"):
        await chat.say(text)

    assert await chat.say("hello") == ["How big?"]


async def test_conversations_have_dialogs_of_their_own(store: Store) -> None:
    bot = painter()
    one, other = Chat(bot, store), Chat(bot, store, conversation="c2")
    await one.say("hello")

    assert await other.say("7") == ["How big?"]
    assert await one.say("7") == ["Which colour for 7?"]


# Given answers


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({}, "How big?"),
        ({"size": 7}, "Which colour for 7?"),
        ({"size": "7"}, "Which colour for 7?"),
        ({"size": "big"}, "How big?"),
        ({"size": None}, "How big?"),
        ({"size": {"x": 1}}, "How big?"),
        ({"colour": "red"}, "How big?"),
        ({"shape": "round"}, "How big?"),
        ({"size": 7, "colour": "red"}, "done: {'size': 7, 'colour': 'red'}"),
        ({"colour": "red", "size": 7, "shape": 1}, "done: {'size': 7, 'colour': 'red'}"),
    ],
)
async def test_usable_answers_are_not_asked_for(
    store: Store, given: dict[str, Any], asked: str
) -> None:
    replies = await Chat(painter(), store).tell("event", name="paint", value=given)

    assert [reply.text for reply in replies] == [asked]


async def test_an_answer_that_was_given_is_skipped_later(store: Store) -> None:
    chat = Chat(painter(), store)
    await chat.tell("event", name="paint", value={"colour": "red"})

    assert await chat.say("7") == ["done: {'colour': 'red', 'size': 7}"]


# Prompting again


async def test_the_open_question_is_asked_again(store: Store) -> None:
    chat = Chat(painter(), store)
    await chat.say("hello")
    await chat.say("7")

    replies = await chat.tell("event", name="repromptDialog")

    assert [reply.text for reply in replies] == ["Which colour for 7?"]
    assert await chat.say("red") == ["done: {'size': 7, 'colour': 'red'}"]


async def test_nothing_is_asked_again_without_a_dialog(store: Store) -> None:
    assert await Chat(painter(), store).tell("event", name="repromptDialog") == []


# Newer versions


async def test_a_new_step_is_asked_when_its_turn_comes(store: Store) -> None:
    await Chat(painter([SIZE]), store).say("hello")

    assert await Chat(painter(), store).say("7") == ["Which colour for 7?"]


async def test_an_answer_to_a_step_that_is_gone_answers_no_other(store: Store) -> None:
    """The words were said to another question."""
    await Chat(painter([Step("shape", ask="Which shape?")]), store).say("hello")

    chat = Chat(painter([COLOUR_ONLY]), store)

    assert await chat.say("round") == ["Which colour?"]
    assert await chat.say("red") == ["done: {'colour': 'red'}"]


COLOUR_ONLY = Step("colour", ask="Which colour?")


# Mistakes


@pytest.mark.parametrize("steps", [[], [SIZE, SIZE], [SIZE, Step("size", ask="Again?")]])
def test_steps_have_different_names(steps: list[Step]) -> None:
    async def finish(turn: Turn, answers: dict[str, Any]) -> None: ...

    with pytest.raises(TypeError, match="different names"):
        Dialog("paint", steps, finish=finish)


async def test_a_fault_in_a_step_does_not_lose_the_dialog(store: Store) -> None:
    """The user is told, and may answer again."""

    def picky(text: str) -> str:
        return {"red": "#f00"}[text]

    chat = Chat(painter([Step("colour", ask="Which colour?", accept=picky)]), store)
    await chat.say("hello")

    assert "went wrong" in (await chat.say("green"))[0]
    assert await chat.say("red") == ["done: {'colour': '#f00'}"]
