"""Our skill, called by consumers on published SDKs."""

from __future__ import annotations

import asyncio

import pytest

from tests.interop.cast import stranger
from tests.interop.world import InteropWorld

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

# One SDK cannot: each of its activities is in a conversation of its own.
KEEPS_CONVERSATIONS = pytest.mark.parametrize("peer", ("bfpy", "bfjs", "agpy"), indirect=True)


@KEEPS_CONVERSATIONS
async def test_users_of_a_consumer_stay_apart(world: InteropWorld, consumer: str) -> None:
    """Two at once, each with a count of their own."""
    ann, bob = world.talk(consumer, user="ann"), world.talk(consumer, user="bob")

    assert list(await asyncio.gather(ann.say("a"), bob.say("b"))) == [["Echo: a"], ["Echo: b"]]
    await ann.say("a")
    assert list(await asyncio.gather(ann.say("end"), bob.say("end"))) == [
        ['Skill ended: {"turns":3}'],
        ['Skill ended: {"turns":2}'],
    ]


async def test_caller_not_allowed(world: InteropWorld, peer: str) -> None:
    """A consumer that our skill does not list is refused, and can tell its user."""
    name = stranger(peer)
    await world.start_host("ours")
    await world.start_consumer(name)
    talk = world.talk(name)

    (heard,) = await talk.say("hello")
    attempt = world.tap.sent("ours", f"/{name}/")[-1]

    assert (attempt.status, attempt.answered["error"]["code"]) == (403, "caller-not-allowed")
    assert heard.startswith("Skill failed: ")
