"""Peers as they really write: each shape in `tests/shapes` is one that some SDK sends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skills.echo import bot as echo
from skills_host.consumer.frames import FrameReader
from skills_host.transport import Request, Response
from tests.conftest import open_town
from tests.consumer.roots import EXPECT_REPLIES, Witness
from tests.world import IDS, SKILLS, Town

SHAPES = Path(__file__).with_name("shapes")


def shape(name: str) -> bytes:
    """The JSON of a shape."""
    return (SHAPES / f"{name}.json").read_bytes()


# Consumers, seen from our skill


async def posted(town: Town, name: str) -> Response:
    """What our echo skill answers to a shape that its consumer sends."""
    if SKILLS["echo"] not in town.send.apps:
        await town.start_skill("echo", echo)
        await town.start_root()
    url = f"{SKILLS['echo']}/api/messages"
    headers = town.bearer("root", audience="echo")
    return await town.send(Request("POST", url, headers, shape(name), 20))


def replies(answer: Response) -> list[dict[str, Any]]:
    """The activities of an expectReplies answer."""
    activities: list[dict[str, Any]] = json.loads(answer.body)["activities"]
    return activities


async def test_dialog_of_dotnet_gets_its_replies(empty_town: Town) -> None:
    """Swapped accounts, its own conversation id, seven digits of a second or not."""
    answer = await posted(empty_town, "dotnet-dialog-message")
    asked = json.loads(shape("dotnet-dialog-message"))
    (reply,) = replies(answer)

    assert (answer.status, reply["text"]) == (200, "Echo: book a flight")
    assert (reply["from"], reply["recipient"]) == (asked["recipient"], asked["from"])
    assert (reply["conversation"], reply["replyToId"]) == (asked["conversation"], asked["id"])
    assert (reply["serviceUrl"], reply["channelId"]) == (asked["serviceUrl"], "directline")


async def test_nulls_of_javascript_are_nothing(empty_town: Town) -> None:
    """In any member, and none of them comes back."""
    (reply,) = replies(await posted(empty_town, "javascript-dialog-message"))

    assert reply["text"] == "Echo: hello"
    assert None not in reply.values() and "" not in reply.values()


async def test_channel_id_of_the_agents_sdk_for_javascript(empty_town: Town) -> None:
    """`_channelId` comes in, `channelId` goes out."""
    (reply,) = replies(await posted(empty_town, "javascript-agents-message"))

    assert (reply["channelId"], reply["text"]) == ("webchat", "Echo: hello")
    assert "_channelId" not in reply


async def test_first_contact_of_dotnet_agents_is_taken(empty_town: Town) -> None:
    """An update of the conversation that nobody has to answer."""
    answer = await posted(empty_town, "dotnet-agents-first")

    assert (answer.status, answer.body) == (200, b"")


async def test_dotnet_agents_get_a_stream(empty_town: Town) -> None:
    """Line ends as they write them; from an account, though none was named."""
    answer = await posted(empty_town, "dotnet-agents-message")
    (frame,) = FrameReader(limit=10_000).feed(answer.body)
    reply = json.loads(frame.data)

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.body.startswith(b"event: activity\r\ndata: {") and answer.body.endswith(
        b"\r\n\r\n"
    )
    assert (frame.event, reply["text"]) == ("activity", "Echo: hello")
    assert reply["from"] == {"role": "skill", "id": IDS["echo"]}


async def test_bare_end_is_taken(empty_town: Town) -> None:
    """There is nothing that it could be about."""
    answer = await posted(empty_town, "dotnet-agents-bare-end")

    assert (answer.status, answer.body) == (200, b"")


async def test_end_without_channel_and_user_ends_its_conversation(empty_town: Town) -> None:
    """The conversation is enough: its caller gave it its id."""
    await posted(empty_town, "dotnet-agents-message")
    assert len(empty_town.records("state", of="echo")) == 1
    answer = await posted(empty_town, "dotnet-agents-bare-end-in-conversation")

    assert (answer.status, answer.body) == (200, b"")
    assert empty_town.records("state", of="echo") == {}


# Skills, seen from our root


def answering(town: Town, status: int, body: bytes, kind: str = "application/json") -> None:
    """The echo skill answers with this, and nothing else is known of it."""
    town.send.faults[SKILLS["echo"]] = lambda _: Response(status, {"content-type": kind}, body)


async def test_replies_of_dotnet(empty_town: Town) -> None:
    """Among them a trace that nobody sees, and an end with a value in its own case."""
    root = Witness()
    answering(empty_town, 200, shape("dotnet-replies"))
    await empty_town.start_root(root=root, echo=EXPECT_REPLIES)

    assert await empty_town.say("echo") == ["hi"]
    assert root.ends == [("echo", "completedSuccessfully", {"Result": 1})]


INVOKES: dict[str, tuple[int, str, int, Any]] = {
    "dotnet": (200, "dotnet-invoke-response", 202, {"Echoed": True}),
    "dotnet agents": (200, "dotnet-agents-invoke-response", 200, {"echoed": True}),
    "dotnet agents, created": (201, "dotnet-agents-invoke-response", 201, {"echoed": True}),
    "dotnet agents, refused": (412, "dotnet-agents-invoke-response", 412, {"echoed": True}),
    "dotnet agents, failed": (500, "dotnet-agents-invoke-response", 500, {"echoed": True}),
    "python": (200, "python-invoke-response", 500, None),
    "nobody handled it": (200, "dotnet-replies", 501, None),
    "nobody handled it, no list": (200, "no-replies", 501, None),
}


@pytest.mark.parametrize("name", INVOKES)
async def test_response_of_an_invoke(empty_town: Town, name: str) -> None:
    """Wherever it stands, in whichever case; the replies beside it are heard."""
    given, file, status, body = INVOKES[name]
    town = await open_town(empty_town, echo=EXPECT_REPLIES)
    await town.say("echo")
    answering(town, given, shape(file))
    answer = await town.post("", type="invoke", name="ask")

    assert (answer.status, json.loads(answer.body or b"null")) == (status, body)
    assert town.said()[1:] == ([] if file == "no-replies" else ["hi"])


async def test_no_replies_are_no_failure(empty_town: Town) -> None:
    answering(empty_town, 200, shape("no-replies"))
    await empty_town.start_root(echo=EXPECT_REPLIES)

    assert await empty_town.say("echo") == []


@pytest.mark.parametrize("status", [200, 201, 202, 204])
@pytest.mark.parametrize("body", [b"", b'"Accepted"', b"Accepted", b'{"id":"1"}'])
async def test_skill_that_answers_before_its_turn(
    empty_town: Town, status: int, body: bytes
) -> None:
    """202 first: replies and the end come when the post is long over."""
    root = Witness()
    answering(empty_town, status, body, "text/plain")
    await empty_town.start_root(root=root)
    assert await empty_town.say("echo") == []
    handle = empty_town.handle("echo")
    for name in ("dotnet-callback-message", "dotnet-callback-end"):
        said = json.loads(shape(name))
        assert await empty_town.callback("echo", handle, said) == (200, "")

    assert empty_town.said() == ["hi"]
    assert root.ends == [("echo", "completedSuccessfully", {"Result": {"N": None}})]


async def test_callback_of_dotnet_reaches_the_user_as_it_is(empty_town: Town) -> None:
    """But for addresses; what nobody knows comes along."""
    answering(empty_town, 202, b"")
    await empty_town.start_root()
    await empty_town.say("echo")
    said = json.loads(shape("dotnet-callback-message"))
    await empty_town.callback("echo", empty_town.handle("echo"), said)
    (entry,) = empty_town.console.open("c1").transcript.entries
    got = entry.activity

    kept = ("text", "attachments", "entities", "x-extension", "localTimestamp", "locale", "type")
    assert [got[name] for name in kept] == [said[name] for name in kept]
    assert (got["channelId"], got["recipient"]["id"]) == ("console", "ann")


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
async def test_stream_of_dotnet_agents(empty_town: Town, end: bytes) -> None:
    """Frames with activities, a last one with the response."""
    frames = [
        b"event: activity",
        b'data: {"type":"typing"}',
        b"",
        b"event: activity",
        b'data: {"type":"message","text":"hi"}',
        b"",
        b"event: invokeResponse",
        b'data: {"status":200,"body":{"a":1}}',
        b"",
        b"",
    ]
    town = await open_town(empty_town, echo={"delivery": "stream"})
    await town.say("echo")
    answering(town, 200, end.join(frames), "text/event-stream")
    answer = await town.post("", type="invoke", name="ask")

    assert (answer.status, json.loads(answer.body)) == (200, {"a": 1})
    assert town.said()[1:] == ["", "hi"]
