"""Every type of activity in both directions: who gets it, and what of it arrives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from skills_host import Root, Turn
from skills_host.transport import Request, Response
from tests.consumer.roots import EXPECT_REPLIES
from tests.world import SKILLS, Town

CODES = (
    *("unknown", "completedSuccessfully", "userCancelled", "botTimedOut"),
    *("botIssuedInvalidMessage", "channelFailed", "agentTimedOut", "SkillError", "of its own"),
)
VALUES = ({"a": {"b": None}}, [1, ""], "text", "", 0, False, 1.5)

PLAIN: tuple[dict[str, Any], ...] = (
    {"type": "message", "text": "hi", "attachments": [{"contentType": "x", "content": None}]},
    {
        "type": "message",
        "text": "",
        "channelData": {"n": None},
        "entities": [{"type": "e", "x": 1}],
    },
    {"type": "typing"},
    {"type": "conversationUpdate", "membersAdded": [{"id": "eve"}], "topicName": "t"},
    {"type": "conversationUpdate", "membersRemoved": [{"id": "eve"}]},
    {"type": "installationUpdate", "action": "add"},
    {"type": "messageReaction", "reactionsAdded": [{"type": "like"}]},
    {"type": "messageUpdate", "text": "new"},
    {"type": "messageDelete"},
    {"type": "contactRelationUpdate", "action": "remove"},
    {"type": "deleteUserData"},
    {"type": "handoff", "name": "handoff.initiate", "value": {"skill": 1}},
    {"type": "suggestion", "text": "s", "textHighlights": [{"text": "h", "occurrence": 1}]},
    {"type": "somethingNew", "x-member": [1.10, None]},
    {"type": "command", "name": "application/x", "value": {"commandId": "1"}},
    {"type": "commandResult", "name": "application/x", "value": {"commandId": "1"}},
)
FOR_BOTS: tuple[dict[str, Any], ...] = (
    {"type": "event", "name": "e", "value": VALUES[0]},
    {"type": "event"},
    {"type": "command", "name": "own", "value": 1},
    {"type": "commandResult", "name": "own"},
    {"type": "command"},
)
DROPPED: tuple[dict[str, Any], ...] = (
    {"type": "trace", "name": "BotState", "value": {"memory": 1}},
    {"type": "invokeResponse", "value": {"status": 200}},
)


def named(activity: Mapping[str, Any]) -> str:
    """How a case is called."""
    return f"{activity['type']} {activity.get('name', activity.get('action', ''))}".strip()


class Watching(Root):
    """A root that notes what of its skills is for its own code."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, Any]] = []
        self.on_activity(*{case["type"] for case in FOR_BOTS}, "endOfConversation")(self._see)

    async def _see(self, turn: Turn) -> None:
        if turn.speaker == "echo":
            self.seen.append({name: turn.activity.get(name) for name in turn.activity.members})


async def said_by_skill(town: Town, activity: Mapping[str, Any], echo: Any) -> Watching:
    """A skill that says this, by a call back or in its answer."""
    root, handles = Watching(), town

    async def call_back(_: Request) -> Response:
        answer = await handles.callback("echo", handles.handle("echo"), activity)
        assert answer == (200, "")
        return Response(200)

    def answer(_: Request) -> Response:
        return Response(200, {}, json.dumps({"activities": [activity]}).encode())

    town.send.faults[SKILLS["echo"]] = answer if echo else call_back
    await town.start_root(root=root, echo=echo)
    posted = await town.post("echo")
    assert posted.status == 200
    return root


def part_of(activity: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    """The members of `whole` that `activity` has."""
    return {name: whole.get(name) for name in activity}


# From the channel to the skill that has the floor


@pytest.mark.parametrize("activity", [*PLAIN, *FOR_BOTS, *DROPPED], ids=named)
async def test_skill_gets_what_the_channel_sends(town: Town, activity: dict[str, Any]) -> None:
    """All types: it is the skill's conversation."""
    await town.say("echo")
    answer = await town.post(**{"text": "", **activity})
    sent = town.to_skill("echo")[-1]
    got = {name: sent.get(name) for name in sent.members}

    assert answer.status == 200
    assert part_of(activity, got) == activity


async def test_end_from_the_channel_ends_the_skill(town: Town) -> None:
    """It is the one type that is not passed on as it is."""
    await town.say("echo")
    answer = await town.post("", type="endOfConversation", code="of its own")
    await town.quiet()

    assert (answer.status, town.to_skill("echo")[-1].code) == (200, "userCancelled")
    assert town.said() == ["Echo: echo"]


# From a skill to the user


@pytest.mark.parametrize("echo", [{}, EXPECT_REPLIES], ids=["callback", "answer"])
@pytest.mark.parametrize("activity", PLAIN, ids=named)
async def test_user_gets_what_a_skill_says(
    empty_town: Town, activity: dict[str, Any], echo: dict[str, str]
) -> None:
    """Every member as it was."""
    root = await said_by_skill(empty_town, activity, echo)
    (entry,) = empty_town.console.open("c1").transcript.entries

    assert part_of(activity, entry.activity) == activity
    assert root.seen == []


@pytest.mark.parametrize("echo", [{}, EXPECT_REPLIES], ids=["callback", "answer"])
async def test_invoke_of_a_skill_goes_to_the_user(empty_town: Town, echo: dict[str, str]) -> None:
    """Only the channel can know what to do with it."""
    invoke = {"type": "invoke", "name": "signin/failure", "value": VALUES[0]}
    await said_by_skill(empty_town, invoke, echo)
    (entry,) = empty_town.console.open("c1").transcript.entries

    assert part_of(invoke, entry.activity) == invoke


@pytest.mark.parametrize("echo", [{}, EXPECT_REPLIES], ids=["callback", "answer"])
@pytest.mark.parametrize("activity", FOR_BOTS, ids=named)
async def test_root_gets_what_is_not_for_users(
    empty_town: Town, activity: dict[str, Any], echo: dict[str, str]
) -> None:
    """The user sees nothing of it."""
    root = await said_by_skill(empty_town, activity, echo)

    assert [part_of(activity, seen) for seen in root.seen] == [activity]
    assert empty_town.console.open("c1").transcript.entries == ()


@pytest.mark.parametrize("echo", [{}, EXPECT_REPLIES], ids=["callback", "answer"])
@pytest.mark.parametrize("activity", DROPPED, ids=named)
async def test_nobody_gets_what_is_dropped(
    empty_town: Town, activity: dict[str, Any], echo: dict[str, str]
) -> None:
    """A trace may hold a bot's memory, and a response answers nothing here."""
    root = await said_by_skill(empty_town, activity, echo)

    assert (root.seen, empty_town.console.open("c1").transcript.entries) == ([], ())


@pytest.mark.parametrize("echo", [{}, EXPECT_REPLIES], ids=["callback", "answer"])
async def test_emulator_shows_traces(empty_town: Town, echo: dict[str, str]) -> None:
    """It is what developers look at."""
    trace = DROPPED[0] | {"channelId": "elsewhere"}

    async def call_back(_: Request) -> Response:
        await empty_town.callback("echo", empty_town.handle("echo"), trace)
        return Response(200)

    body = json.dumps({"activities": [trace]}).encode()
    town = empty_town
    town.send.faults[SKILLS["echo"]] = (lambda _: Response(200, {}, body)) if echo else call_back
    await town.start_root(echo=echo)
    await town.post("echo", channelId="emulator")

    (entry,) = town.console.open("c1").transcript.entries
    assert (entry.activity["type"], entry.activity["value"]) == ("trace", {"memory": 1})


@pytest.mark.parametrize("echo", [{}, EXPECT_REPLIES], ids=["callback", "answer"])
@pytest.mark.parametrize("code", [*CODES, None])
async def test_root_gets_every_code_of_an_end(
    empty_town: Town, code: str | None, echo: dict[str, str]
) -> None:
    """Codes are open: whatever a skill says, and nothing if it says nothing."""
    end = {"type": "endOfConversation", **({"code": code} if code else {})}
    root = await said_by_skill(empty_town, end, echo)

    assert [seen.get("code") for seen in root.seen] == [code]
    assert empty_town.console.open("c1").transcript.entries == ()
    assert "did not understand" in (await empty_town.say("hello"))[0]


@pytest.mark.parametrize("echo", [{}, EXPECT_REPLIES], ids=["callback", "answer"])
@pytest.mark.parametrize("value", VALUES, ids=repr)
async def test_root_gets_every_value_of_an_end(
    empty_town: Town, value: Any, echo: dict[str, str]
) -> None:
    """Any JSON, the falsy kinds too."""
    root = await said_by_skill(empty_town, {"type": "endOfConversation", "value": value}, echo)

    assert [(type(seen["value"]), seen["value"]) for seen in root.seen] == [(type(value), value)]


async def test_types_are_compared_exactly(town: Town) -> None:
    """An `EndOfConversation` is none."""
    await town.say("echo")
    await town.callback("echo", town.handle("echo"), {"type": "EndOfConversation"})

    assert town.console.open("c1").transcript.entries[-1].activity["type"] == "EndOfConversation"
    assert await town.say("on") == ["Echo: on"]
