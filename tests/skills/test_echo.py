"""The echo skill, in whole turns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skills.echo import bot
from skills_host.store.records import Store
from tests.conversing import Chat, opened


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An open store."""
    async with opened(tmp_path) as store:
        yield store


async def test_it_says_what_it_hears(store: Store) -> None:
    chat = Chat(bot, store)

    assert await chat.say("hello") == ["Echo: hello"]
    assert await chat.say("  <b>ünd</b> 😀 ") == ["Echo: <b>ünd</b> 😀"]


@pytest.mark.parametrize("word", ["end", "stop", "End.", " STOP! "])
async def test_it_ends_with_the_count(store: Store, word: str) -> None:
    chat = Chat(bot, store)
    for text in ("one", "two"):
        await chat.say(text)

    assert await chat.say(word) == [
        "Goodbye after 2 messages.",
        "completedSuccessfully: {'echoed': 2}",
    ]


async def test_it_counts_on_after_a_restart(store: Store) -> None:
    await Chat(bot, store).say("one")

    assert (await Chat(bot, store).say("end"))[1] == "completedSuccessfully: {'echoed': 1}"


async def test_it_counts_each_conversation_anew(store: Store) -> None:
    chat = Chat(bot, store)
    await chat.say("one")
    await chat.say("end")

    assert "0 messages" in (await chat.say("end"))[0]
    assert "0 messages" in (await Chat(bot, store, conversation="c2").say("end"))[0]


async def test_it_forgets_when_it_is_stopped(store: Store) -> None:
    chat = Chat(bot, store)
    await chat.say("one")

    assert await chat.tell("endOfConversation", code="userCancelled") == []
    assert "0 messages" in (await chat.say("end"))[0]
