"""The booking skill, in whole turns; and what it takes for an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills.booking import bot, confirmation, destination, summary, travel_date, travellers
from skills_host.bot.dialog import Retry
from skills_host.store.records import Store
from tests.conversing import Chat, opened

DAY = "2090-05-17"
BOOKED = {"destination": "Lisbon", "date": DAY, "travellers": 2}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An open store."""
    async with opened(tmp_path) as store:
        yield store


@pytest.fixture
def chat(store: Store) -> Chat:
    """A conversation with the skill."""
    return Chat(bot, store)


async def test_a_booking_is_asked_for_and_confirmed(chat: Chat) -> None:
    assert await chat.say("book a trip") == ["Where do you want to go?"]
    assert await chat.say("Lisbon") == ["On which day? (YYYY-MM-DD)"]
    assert await chat.say(DAY) == ["How many people will travel?"]
    assert await chat.say("2") == [f"Lisbon on {DAY} for 2 travellers: shall I book it?"]
    assert await chat.say("Yes!") == [
        f"Booked: Lisbon on {DAY}. Have a good trip!",
        f"completedSuccessfully: {BOOKED}",
    ]


async def test_a_booking_can_be_declined(chat: Chat) -> None:
    for text in ("book", "Lisbon", DAY, "1"):
        await chat.say(text)

    assert await chat.say("no") == ["All right, nothing was booked.", "userCancelled: None"]
    assert await chat.say("book") == ["Where do you want to go?"]


async def test_bad_answers_are_asked_again(chat: Chat) -> None:
    await chat.say("book")

    assert "name a city" in (await chat.say("42"))[0]
    await chat.say("Lisbon")
    assert "YYYY-MM-DD" in (await chat.say("tomorrow"))[0]
    assert "past" in (await chat.say("2001-01-01"))[0]
    await chat.say(DAY)
    assert "from 1 to 9" in (await chat.say("ten"))[0]
    await chat.say("1")
    assert await chat.say("perhaps") == ["Please answer yes or no."]


async def test_it_goes_on_after_a_restart(store: Store) -> None:
    for text in ("book", "Lisbon", DAY):
        await Chat(bot, store).say(text)

    assert "shall I book it?" in (await Chat(bot, store).say("2"))[0]


async def test_it_forgets_when_it_is_stopped(chat: Chat) -> None:
    await chat.say("book")

    await chat.tell("endOfConversation", code="userCancelled")

    assert await chat.say("Lisbon") == ["Where do you want to go?"]


async def began(chat: Chat, value: Any) -> str | None:
    """What is asked after a consumer has begun with these answers."""
    (reply,) = await chat.tell("event", name="book", value=value)
    return reply.text


async def test_a_consumer_can_give_answers(chat: Chat) -> None:
    assert await began(chat, BOOKED) == f"Lisbon on {DAY} for 2 travellers: shall I book it?"
    assert (await chat.say("yes"))[1] == f"completedSuccessfully: {BOOKED}"


async def test_only_the_user_confirms(chat: Chat) -> None:
    asked = await began(chat, BOOKED | {"confirmed": "yes"})

    assert asked is not None and "shall I book it?" in asked


@pytest.mark.parametrize("value", [None, [], "Lisbon", 5, {}, {"destination": ["Lisbon"]}])
async def test_an_odd_beginning_is_a_plain_one(chat: Chat, value: Any) -> None:
    assert await began(chat, value) == "Where do you want to go?"


async def test_two_conversations_book_apart(store: Store) -> None:
    one, other = Chat(bot, store), Chat(bot, store, user="bob", conversation="c2")
    for text in ("book", "Lisbon", DAY, "1"):
        await one.say(text)
        await other.say(text.replace("Lisbon", "Porto"))

    assert "Lisbon" in (await one.say("yes"))[0]
    assert "Porto" in (await other.say("yes"))[0]


# What is taken for an answer


@pytest.mark.parametrize(
    "text", ["Rio", "New  York", "Saint-Étienne", "Val d’Isère", "กรุงเทพ", "दिल्ली"]
)
def test_places_have_many_scripts(text: str) -> None:
    assert destination(text) == " ".join(text.split())


@pytest.mark.parametrize("text", ["", "X", "42", "Lisbon\0", "<b>x</b>", "x" * 61, "a_b", "🏖🏖"])
def test_what_is_no_place_is_asked_again(text: str) -> None:
    with pytest.raises(Retry):
        destination(text)


def test_today_is_not_past() -> None:
    today = datetime.now(UTC).date()

    assert travel_date(f" {today + timedelta(days=1)} ") == str(today + timedelta(days=1))
    with pytest.raises(Retry, match="past"):
        travel_date(str(today - timedelta(days=2)))


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "17.5.2090", "2090-02-30", "2090-13-01", "٢٠٩٠-٠٥-١٧"]
)
def test_what_is_no_date_is_asked_again(text: str) -> None:
    with pytest.raises(Retry, match="YYYY-MM-DD"):
        travel_date(text)


@pytest.mark.parametrize(("text", "count"), [("1", 1), (" 9 ", 9)])
def test_one_to_nine_may_travel(text: str, count: int) -> None:
    assert travellers(text) == count


@pytest.mark.parametrize("text", ["", "0", "10", "-1", "1.0", "two", "²", "٣", "9" * 5000])
def test_others_are_asked_again(text: str) -> None:
    with pytest.raises(Retry, match="from 1 to 9"):
        travellers(text)


@pytest.mark.parametrize(("text", "expected"), [("Yes.", True), ("ok", True), (" NO! ", False)])
def test_yes_and_no_are_understood(text: str, expected: bool) -> None:
    assert confirmation(text) is expected


@pytest.mark.parametrize("accept", [destination, travel_date, travellers, confirmation])
@given(text=st.text())
def test_any_text_is_taken_or_asked_again(accept: Callable[[str], Any], text: str) -> None:
    """Never an error."""
    try:
        accept(text)
    except Retry as retry:
        assert str(retry)


def test_one_traveller_is_not_many() -> None:
    assert "1 traveller:" in summary(BOOKED | {"travellers": 1})
