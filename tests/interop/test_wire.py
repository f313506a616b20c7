"""What is really on the wire between our bots and bots on published SDKs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop.tap import Exchange
from tests.interop.world import InteropWorld, Talk

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

STATUS = {"bfpy": 201, "bfjs": 200, "agpy": 202, "agjs": 200}
CHANNEL_DATA = {"nested": {"empty": {}, "none": None, "list": [1, [], "ü 🦊"]}, "big": 2**53 - 1}
ENTITIES = [{"type": "clientInfo", "locale": "de-CH", "x-odd": {"deep": [None, 0.5]}}]


async def forwarded(world: InteropWorld, talk: Talk, *, to: str, text: str) -> Exchange:
    """Say a text with odd members; how it was forwarded."""
    await talk.say(text, id=f"id of {text}", channelData=CHANNEL_DATA, entities=ENTITIES)
    return world.tap.sent(to, talk.conversation)[-1]


def callbacks(world: InteropWorld, call: Exchange, *, to: str) -> list[Exchange]:
    """What the skill sent back by itself."""
    return world.tap.sent(to, call.sent["conversation"]["id"])


async def test_a_skill_gets_what_the_user_sent(world: InteropWorld, peer: str, skill: str) -> None:
    """Only the documented members differ; the rest is the user's own."""
    talk = world.talk("root")
    call = await forwarded(world, talk, to=peer, text=skill)
    changed = {"conversation", "serviceUrl", "recipient", "relatesTo", "deliveryMode"}
    sent = talk.console.activity(skill, user="ann", conversation=talk.conversation)
    sent |= {"id": f"id of {skill}", "channelData": CHANNEL_DATA, "entities": ENTITIES}
    times = {"timestamp", "localTimestamp"}
    kept = sent.keys() - changed - times

    assert {name: call.sent[name] for name in kept} == {name: sent[name] for name in kept}
    assert call.sent.keys() - sent.keys() <= changed
    assert call.sent["recipient"] == sent["recipient"] | {"role": "skill"}
    assert call.sent["serviceUrl"] == f"{world.tap.url('root')}/api/skills"
    assert call.sent["relatesTo"]["conversation"] == {"id": talk.conversation}
    assert call.headers["x-ms-conversation-id"] == call.sent["conversation"]["id"]


async def test_a_skill_answers_as_recorded(
    world: InteropWorld, peer: str, skill: str, delivery: str
) -> None:
    """A plain turn has the SDK's own status and callbacks; `expectReplies` has the replies."""
    call = await forwarded(world, world.talk("root"), to=peer, text=skill)
    back = callbacks(world, call, to="root")

    if delivery == "normal":
        assert (call.status, "deliveryMode" in call.sent) == (STATUS[peer], False)
        assert [(one.method, one.status, one.ids[1]) for one in back] == [
            ("POST", 200, f"id of {skill}")
        ]
        assert back[0].answered["id"]
        assert_is_reply(back[0].sent, to=call)
    else:
        assert (call.status, call.sent["deliveryMode"], back) == (200, "expectReplies", [])
        assert_is_reply(call.answered["activities"][0], to=call)


async def test_the_user_hears_the_root(world: InteropWorld, peer: str, skill: str) -> None:
    """From the root's account, as an answer to the user's own activity, without a handle."""
    talk = world.talk("root")
    call = await forwarded(world, talk, to=peer, text=skill)
    (entry,) = talk.entries
    heard = entry.activity

    assert (heard["from"], heard["recipient"]["id"]) == (talk.console.bot, "ann")
    assert (heard["replyToId"], entry.reply_to) == (f"id of {skill}", f"id of {skill}")
    assert (heard["channelId"], heard["serviceUrl"]) == ("console", talk.console.service_url)
    assert heard["conversation"] == {"id": talk.conversation}
    assert call.sent["conversation"]["id"].encode() not in entry.raw


async def test_our_skill_answers_a_consumer(
    world: InteropWorld, consumer: str, delivery: str
) -> None:
    """By callbacks that answer the forwarded activity, or in the answer to it."""
    call = await forwarded(world, world.talk(consumer), to="ours", text="hello")
    back = callbacks(world, call, to=consumer)

    assert call.status == 200
    if delivery == "normal":
        assert [one.ids for one in back] == [[call.sent["conversation"]["id"], "id of hello"]]
        assert (back[0].status // 100, back[0].method) == (2, "POST")
        assert_is_reply(back[0].sent, to=call)
    else:
        assert back == []
        assert_is_reply(call.answered["activities"][0], to=call)


async def test_a_consumer_forwards_channel_data(world: InteropWorld, consumer: str) -> None:
    """Whatever else an SDK drops, channelData arrives, and the id is the user's activity's."""
    call = await forwarded(world, world.talk(consumer), to="ours", text="hello")

    assert call.sent["channelData"] == CHANNEL_DATA
    assert call.sent["entities"][0]["type"] == "clientInfo"
    assert (call.sent["id"], call.sent["recipient"]["role"]) == ("id of hello", "skill")


def assert_is_reply(reply: dict[str, Any], *, to: Exchange) -> None:
    """A skill's message goes back the way its question came."""
    question = to.sent
    assert reply["type"] == "message"
    assert reply["replyToId"] == question["id"]
    assert reply["conversation"]["id"] == question["conversation"]["id"]
    assert reply["serviceUrl"] == question["serviceUrl"]
    assert reply["from"]["id"] == question["recipient"]["id"]
    assert reply["from"]["role"] == "skill"
    assert reply["recipient"]["id"] == question["from"]["id"]
