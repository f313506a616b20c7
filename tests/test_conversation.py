"""Whole turns: a user's words to a skill and back, with real tokens."""

from __future__ import annotations

from tests.world import Town


async def test_echo_answers_through_the_root(town: Town) -> None:
    """A picked skill keeps the floor until it ends with a value."""
    assert await town.say("echo") == ["Echo: echo"]
    assert await town.say("hello") == ["Echo: hello"]
    assert await town.say("end") == ["Goodbye after 2 messages."]

    assert "I did not understand" in (await town.say("hello"))[0]
