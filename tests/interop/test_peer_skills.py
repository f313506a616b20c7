"""Skills on published SDKs behind our root."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.interop.cast import PEERS
from tests.interop.world import InteropWorld, Talk

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]


async def spoken(talk: Talk, *texts: str) -> list[str]:
    """What one user hears, saying one thing after the other."""
    return [heard for text in texts for heard in await talk.say(text)]


async def test_two_users_at_once_stay_apart(world: InteropWorld, skill: str) -> None:
    """Each has a conversation with a count of its own."""
    ann, bob = world.talk("root", user="ann"), world.talk("root", user="bob")

    heard = await asyncio.gather(
        spoken(ann, skill, "ann one", "ann two", "count"), spoken(bob, skill, "bob one", "count")
    )

    assert list(heard) == [
        [f"Echo: {skill}", "Echo: ann one", "Echo: ann two", "4 messages"],
        [f"Echo: {skill}", "Echo: bob one", "3 messages"],
    ]


async def test_the_floor_is_free_after_an_end(world: InteropWorld, skill: str) -> None:
    """The next words are the root's again."""
    talk = world.talk("root")

    await spoken(talk, skill, "end")

    assert "I did not understand" in (await talk.say("hello"))[0]


async def test_a_stranger_cannot_use_a_skills_conversation(
    world: InteropWorld, peer: str, skill: str
) -> None:
    """Another registered skill is refused where the owner is welcome."""
    talk = world.talk("root")
    await talk.say(skill)
    handle = world.tap.sent(peer, talk.conversation)[0].sent["conversation"]["id"]
    url = f"{world.bots['root'].url}/api/skills/v3/conversations/{handle}/activities"
    activity = {"type": "message", "text": "boo"}
    other = PEERS[PEERS.index(peer) - 1]

    refused = await world.post(url, activity, caller=other, audience="root")
    welcome = await world.post(url, activity, caller=peer, audience="root")

    assert (refused.status, b"not-conversation-owner" in refused.body) == (403, True)
    assert (welcome.status, [entry.text for entry in talk.entries][1:]) == (200, ["boo"])


async def test_a_root_from_configuration_alone_is_enough(world: InteropWorld, skill: str) -> None:
    """`serve` has no code: the skill answers and its end frees the floor."""
    await world.start_host("plain")
    talk = world.talk("plain")

    heard = await spoken(talk, skill, "hello", "count")
    answer = await talk.post(type="invoke", name="lookup", value="fox")

    assert heard == [f"Echo: {skill}", "Echo: hello", "3 messages"]
    assert (answer.status, json.loads(answer.body)) == (200, {"found": "fox"})
    assert await talk.say("end") == []
    assert "I did not understand" in (await talk.say("hello"))[0]


@pytest.mark.parametrize("peer", ("bfpy", "bfjs", "agjs"), indirect=True)
async def test_a_skill_that_does_not_know_streams(world: InteropWorld, peer: str) -> None:
    """Asked for one, it answers as it does otherwise."""
    await world.start_host("root")
    await world.start_skill(peer)
    name = f"{peer}-stream"

    heard = await spoken(world.talk("root"), name, "count", "end")

    end = 'Skill ended: {"turns":3} (completedSuccessfully)'
    assert heard == [f"Echo: {name}", "2 messages", end]


@pytest.mark.parametrize("peer", ("agpy",), indirect=True)
async def test_a_skill_that_fails_when_it_is_asked_for_a_stream(
    world: InteropWorld, peer: str
) -> None:
    """The SDK makes neither a stream nor a client then: the user is told, and the floor is free."""
    await world.start_host("root")
    await world.start_skill(peer)
    talk = world.talk("root")

    first, ended, after = await spoken(talk, f"{peer}-stream", "hello")

    assert first.startswith(f"{peer}-stream is not available")
    assert ended == "Skill ended: null (channelFailed)"
    assert "I did not understand" in after
