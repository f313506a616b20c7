"""Skills on published SDKs behind our root."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.interop.tap import Exchange
from tests.interop.world import PEERS, InteropWorld, Talk

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]


async def spoken(talk: Talk, *texts: str) -> list[str]:
    """What one user hears, saying one thing after the other."""
    return [heard for text in texts for heard in await talk.say(text)]


async def test_a_skill_is_picked_by_name_and_keeps_state(world: InteropWorld, skill: str) -> None:
    """Its name gives it the floor, and every turn is in one conversation of its own."""
    talk = world.talk("root")

    assert await talk.say(skill) == [f"Echo: {skill}"]
    assert await talk.say("hello there") == ["Echo: hello there"]
    assert await talk.say("count") == ["3 messages"]
    assert await talk.say("count") == ["4 messages"]


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


async def test_an_end_reaches_the_roots_bot(world: InteropWorld, skill: str) -> None:
    """With its value and its code; after it the floor is free."""
    talk = world.talk("root")
    await spoken(talk, skill, "hello")

    assert await talk.say("end") == ['Skill ended: {"turns": 3} (completedSuccessfully)']
    assert "I did not understand" in (await talk.say("hello"))[0]


async def test_a_skill_begins_anew_after_its_end(world: InteropWorld, skill: str) -> None:
    """The next conversation has another id and starts to count again."""
    talk = world.talk("root")

    await spoken(talk, skill, "end", skill)

    assert await talk.say("count") == ["2 messages"]


async def test_cancelling_makes_the_skill_forget(
    world: InteropWorld, peer: str, skill: str
) -> None:
    """The user's word ends it at the root, and the skill is told: its state is gone."""
    talk = world.talk("root")
    await spoken(talk, skill, "one")
    (*_, last) = world.tap.sent(peer, talk.conversation)

    said = await talk.say("cancel")
    told = await world.tap.next(lambda one: is_end(one, to=last))

    assert said == [f"{skill} was cancelled.", "Skill ended: null (userCancelled)"]
    assert (told.status // 100, told.sent["code"]) == (2, "userCancelled")
    assert await counted(world, peer, last.sent) == "1 messages"
    assert await spoken(talk, skill, "count") == [f"Echo: {skill}", "2 messages"]


async def test_a_stranger_cannot_use_a_skills_conversation(
    world: InteropWorld, peer: str, skill: str
) -> None:
    """Another registered skill is refused where the owner is welcome."""
    talk = world.talk("root")
    await talk.say(skill)
    handle = world.tap.sent(peer, talk.conversation)[0].sent["conversation"]["id"]
    url = f"{world.bots['root'].url}/api/skills/v3/conversations/{handle}/activities"
    activity = {"type": "message", "text": "boo"}
    (other,) = set(PEERS) - {peer}

    refused = await world.post(url, activity, caller=other, audience="root")
    welcome = await world.post(url, activity, caller=peer, audience="root")

    assert (refused.status, b"not-conversation-owner" in refused.body) == (403, True)
    assert (welcome.status, [entry.text for entry in talk.entries][1:]) == (200, ["boo"])


async def test_a_root_from_configuration_alone_is_enough(world: InteropWorld, skill: str) -> None:
    """`serve` has no code: the skill answers and its end frees the floor."""
    await world.start_host("plain")
    talk = world.talk("plain")

    heard = await spoken(talk, skill, "hello", "count", "end")

    assert heard == [f"Echo: {skill}", "Echo: hello", "3 messages"]
    assert "I did not understand" in (await talk.say("hello"))[0]


def is_end(one: Exchange, *, to: Exchange) -> bool:
    """True for an end in the conversation that an earlier activity went to."""
    is_here = one.sent.get("conversation") == to.sent["conversation"]
    return one.to == to.to and is_here and one.sent["type"] == "endOfConversation"


async def counted(world: InteropWorld, peer: str, earlier: dict[str, Any]) -> str:
    """What a skill says to `count` in the conversation of an earlier activity."""
    probe = earlier | {"id": "probe", "text": "count", "deliveryMode": "expectReplies"}
    url = f"{world.bots[peer].url}/api/messages"
    answer = await world.post(url, probe, caller="root", audience=peer)
    assert answer.status == 200
    return str(json.loads(answer.body)["activities"][0]["text"])
