"""Booking: asks for destination, date and travellers, confirms, and ends with the booking.

A consumer may also begin it with an event named `book` whose value holds some of the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from string import digits
from typing import Any
from unicodedata import category

from skills_host import Bot, Dialog, Retry, Step, Turn

__all__ = ["bot"]

LONGEST_NAME = 60
MOST_TRAVELLERS = 9
YES = {"yes", "y", "ok", "sure", "book it"}
NO = {"no", "n", "nope"}

bot = Bot()


def destination(text: str) -> str:
    """A place name: letters, spaces, dots, hyphens and apostrophes."""
    name = " ".join(text.split())
    # Letters and the marks that many scripts write them with.
    sound = all(category(character)[0] in "LM" or character in " .-'’" for character in name)
    if not 2 <= len(name) <= LONGEST_NAME or not sound:
        raise Retry("Please name a city or a country, such as Lisbon.")
    return name


def travel_date(text: str) -> str:
    """A day that is not past, as YYYY-MM-DD."""
    try:
        day = date.fromisoformat(text.strip())
    except ValueError:
        raise Retry("Please write the date as YYYY-MM-DD, such as 2030-05-17.") from None
    if day < datetime.now(UTC).date():
        raise Retry("That day is past. Which day do you want to travel?")
    return day.isoformat()


def travellers(text: str) -> int:
    """A number from 1 to 9."""
    word = text.strip()
    count = int(word) if len(word) == 1 and word in digits else 0
    if not 1 <= count <= MOST_TRAVELLERS:
        raise Retry(f"How many people, from 1 to {MOST_TRAVELLERS}?")
    return count


def confirmation(text: str) -> bool:
    """Yes or no."""
    word = text.strip().casefold().rstrip(".!")
    if word not in YES | NO:
        raise Retry("Please answer yes or no.")
    return word in YES


def summary(answers: Mapping[str, Any]) -> str:
    """The booking in one sentence, as a question."""
    count = answers["travellers"]
    people = "1 traveller" if count == 1 else f"{count} travellers"
    return f"{answers['destination']} on {answers['date']} for {people}: shall I book it?"


async def finish(turn: Turn, answers: dict[str, Any]) -> None:
    """Tell the user, and end with the booking as value, or without one."""
    if not answers.pop("confirmed"):
        await turn.send("All right, nothing was booked.")
        await turn.end(code="userCancelled")
        return
    await turn.send(f"Booked: {answers['destination']} on {answers['date']}. Have a good trip!")
    await turn.end(answers)


booking = bot.add(
    Dialog(
        "booking",
        [
            Step("destination", ask="Where do you want to go?", accept=destination),
            Step("date", ask="On which day? (YYYY-MM-DD)", accept=travel_date),
            Step("travellers", ask="How many people will travel?", accept=travellers),
            Step("confirmed", ask=summary, accept=confirmation),
        ],
        finish=finish,
    )
)


@bot.on_event("book")
async def begin_prefilled(turn: Turn) -> None:
    """Begin with what the consumer knows already; only the user can confirm."""
    value = turn.activity.value
    given = dict(value) if isinstance(value, dict) else {}
    given.pop("confirmed", None)
    await booking.begin(turn, given)


@bot.on_message
async def begin(turn: Turn) -> None:
    """Any first message begins a booking."""
    await booking.begin(turn)
