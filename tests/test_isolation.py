"""Many at once: nobody's words reach anybody else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conftest import open_town
from tests.consumer.roots import EXPECT_REPLIES, Witness
from tests.world import Town

ROUNDS = 10
QUESTIONS = [
    "Where do you want to go?",
    "On which day? (YYYY-MM-DD)",
    "How many people will travel?",
]


def said_to(town: Town, user: str, conversation: str) -> list[str]:
    """What the bot said to one user, by the recipient that it named."""
    entries = town.console.open(conversation).transcript.entries
    return [entry.text for entry in entries if entry.activity["recipient"]["id"] == user]


async def echoes(town: Town, user: str, **where: Any) -> list[str]:
    """One user's talk with the echo skill; what they should have heard."""
    conversation = where.get("conversation", user)
    texts = [f"{user} says {n}" for n in range(ROUNDS)]
    for text in ("echo", *texts, "end"):
        await town.post(text, user=user, **{"conversation": conversation, **where})
    heard = [f"Echo: {text}" for text in ("echo", *texts)]
    return [*heard, f"Goodbye after {ROUNDS + 1} messages."]


async def booking(town: Town, user: str, place: str, count: int, **where: Any) -> list[str]:
    """One user's booking; what they should have heard."""
    conversation = where.get("conversation", user)
    for text in ("booking", place, "2030-05-17", str(count), "yes"):
        await town.post(text, user=user, **{"conversation": conversation, **where})
    people = f"{count} travellers"
    return [
        *QUESTIONS,
        f"{place} on 2030-05-17 for {people}: shall I book it?",
        f"Booked: {place} on 2030-05-17. Have a good trip!",
    ]


@pytest.mark.parametrize("delivery", [{}, EXPECT_REPLIES])
async def test_two_users_and_two_skills_at_once(empty_town: Town, delivery: dict[str, str]) -> None:
    """Each hears the answers to their own words, in order, and nothing else."""
    root = Witness()
    town = await open_town(empty_town, root, echo=delivery, booking=delivery)
    ann, bob, *_ = await asyncio.gather(
        echoes(town, "ann"),
        booking(town, "bob", "Lisbon", 2),
        echoes(town, "eve"),
        booking(town, "dan", "Oslo", 3),
    )

    assert town.said("ann") == ann
    assert town.said("bob") == bob
    assert town.said("dan")[-1] == "Booked: Oslo on 2030-05-17. Have a good trip!"
    assert len(root.ends) == 4
    places = [value["destination"] for skill, _, value in root.ends if skill == "booking"]
    assert sorted(places) == ["Lisbon", "Oslo"]


async def test_two_users_of_one_group_book_at_once(town: Town) -> None:
    """No answer of one gets into the booking of the other."""
    here: dict[str, Any] = {"conversation": "team", "is_group": True}
    for n in range(3):
        ann, bob = await asyncio.gather(
            booking(town, "ann", "Lisbon", 2 + n, **here),
            booking(town, "bob", "Oslo", 5 + n, **here),
        )

        assert said_to(town, "ann", "team")[-len(ann) :] == ann
        assert said_to(town, "bob", "team")[-len(bob) :] == bob


async def test_group_members_with_different_skills(town: Town) -> None:
    """Each has the floor's skill of their own."""
    here: dict[str, Any] = {"conversation": "team", "is_group": True}
    ann, bob = await asyncio.gather(
        echoes(town, "ann", **here), booking(town, "bob", "Oslo", 2, **here)
    )

    assert said_to(town, "ann", "team") == ann
    assert said_to(town, "bob", "team") == bob


async def test_skills_know_conversations_by_different_ids(town: Town) -> None:
    """Each user's talk with each skill has an id of its own."""
    await asyncio.gather(*(town.post("echo", user=user, conversation=user) for user in "abcd"))
    await asyncio.gather(*(town.post("cancel", user=user, conversation=user) for user in "abcd"))
    await asyncio.gather(*(town.post("booking", user=user, conversation=user) for user in "abcd"))
    messages = [
        (name, sent.conversation.id)
        for name in ("echo", "booking")
        for sent in town.to_skill(name)
        if sent.type == "message"
    ]

    assert len(set(messages)) == len({handle for _, handle in messages}) == 8


async def test_same_conversation_id_on_another_channel(town: Town) -> None:
    """Ids mean something only within their channel."""
    await town.say("echo")
    other = town.console.activity("hello", user="ann", conversation="c1")
    await town.console.post(other | {"channelId": "directline"})

    assert len(town.to_skill("echo")) == 1
