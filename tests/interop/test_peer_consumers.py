"""Our echo skill, called by consumers on published SDKs."""

from __future__ import annotations

import asyncio

import pytest

from tests.interop.world import InteropWorld, stranger

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]


async def test_our_skill_answers_and_ends_with_a_value(world: InteropWorld, consumer: str) -> None:
    """Its state lives as long as the consumer keeps the conversation, and no longer."""
    talk = world.talk(consumer)

    assert await talk.say("hello") == ["Echo: hello"]
    assert await talk.say("and again") == ["Echo: and again"]
    assert await talk.say("end") == ["Goodbye after 2 messages.", 'Skill ended: {"echoed":2}']
    assert await talk.say("anew") == ["Echo: anew"]
    assert await talk.say("end") == ["Goodbye after 1 messages.", 'Skill ended: {"echoed":1}']


async def test_users_of_a_consumer_stay_apart(world: InteropWorld, consumer: str) -> None:
    """Two at once, each with a count of their own."""
    ann, bob = world.talk(consumer, user="ann"), world.talk(consumer, user="bob")

    assert list(await asyncio.gather(ann.say("a"), bob.say("b"))) == [["Echo: a"], ["Echo: b"]]
    await ann.say("a")
    assert list(await asyncio.gather(ann.say("end"), bob.say("end"))) == [
        ["Goodbye after 2 messages.", 'Skill ended: {"echoed":2}'],
        ["Goodbye after 1 messages.", 'Skill ended: {"echoed":1}'],
    ]


async def test_caller_not_allowed(world: InteropWorld, peer: str) -> None:
    """A consumer that our skill does not list is refused, and can tell its user."""
    name = stranger(peer)
    await world.start_host("echo")
    await world.start_consumer(name, delivery="normal")
    talk = world.talk(name)

    heard = await talk.say("hello")
    (attempt,) = world.tap.sent("echo", talk.conversation)

    assert (attempt.status, attempt.answered["error"]["code"]) == (403, "caller-not-allowed")
    assert heard == ["Skill failed: 403"]
