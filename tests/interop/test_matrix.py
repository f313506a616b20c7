"""Each row of the matrix, with every peer as skill, as consumer, and in the middle of a chain."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from skills_host.lab.transcript import Entry
from tests.interop.matrix import Cell
from tests.interop.tap import Exchange

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

CHANNEL_DATA = {"nested": {"empty": {}, "none": None, "list": [1, [], "ü 🦊"]}, "big": 2**53 - 1}
ENTITIES = [
    {"type": "clientInfo", "locale": "de-CH", "x-odd": {"deep": [None, 0.5]}},
    {"type": "mention", "text": "@bob", "mentioned": {"id": "bob", "name": "Bob"}},
]
BUTTON = {"type": "imBack", "title": "go", "value": "go"}
ATTACHMENTS = [
    {
        "contentType": "application/vnd.microsoft.card.hero",
        "content": {"title": "Title", "buttons": [BUTTON]},
    },
    {"contentType": "image/png", "contentUrl": "https://example.test/a.png", "name": "a.png"},
]
ACTIONS = [
    {"type": "imBack", "title": "yes", "value": "yes"},
    {"type": "imBack", "title": "no", "value": "no"},
]
VALUE = {"word": "fox", "deep": [1, {"ü": True}]}


def row(name: str) -> pytest.MarkDecorator:
    """The test is about this row."""
    return pytest.mark.row(name)


@row("text")
async def test_text_over_several_turns(cell: Cell) -> None:
    """Every turn is answered, and all are in one conversation of the skill."""
    heard = await cell.say(cell.called, "one more")

    cell.check("echo", heard, [f"Echo: {cell.called}", "Echo: one more"])
    cell.check("count", await cell.say("count"), ["3 messages"])


@row("card")
async def test_attachments_and_cards(cell: Cell) -> None:
    """Both attachments arrive with all that is in them."""
    cell.check("card", pruned((await last_of(cell, "card")).get("attachments", [])), ATTACHMENTS)


@row("actions")
async def test_suggested_actions(cell: Cell) -> None:
    """Both actions arrive, in order."""
    suggested = (await last_of(cell, "card")).get("suggestedActions", {})

    cell.check("actions", pruned(suggested.get("actions", [])), ACTIONS)


@row("data")
async def test_channel_data_and_entities(cell: Cell) -> None:
    """What a client sends goes to the skill and comes back."""
    said = await last_of(cell, "data", channelData=CHANNEL_DATA, entities=ENTITIES)

    cell.check("channelData", said.get("channelData", []), CHANNEL_DATA)
    cell.check("entities", said.get("entities", []), ENTITIES)


@row("event")
async def test_an_event_in_and_one_out(cell: Cell) -> None:
    """The user's goes to the skill, the skill's to the root's bot."""
    await cell.say(cell.called)

    heard = await cell.talk.say("", type="event", name="ping", value=VALUE)

    told = json.dumps(VALUE, separators=(",", ":"), ensure_ascii=False)
    cell.check("event", plain(heard), [f"Skill event: pong {told}", "pong"])


@row("invoke")
async def test_an_invoke_with_its_response(cell: Cell) -> None:
    """Status and body of the skill's response are the answer to the user's request."""
    await cell.say(cell.called)

    answer = await cell.talk.post(type="invoke", name="lookup", value=VALUE)

    body = json.loads(answer.body or b"null")
    cell.check("invoke", [answer.status, body], [200, {"found": VALUE}])


@row("end")
async def test_an_end_with_its_value(cell: Cell) -> None:
    """Every bot on the way learns the value; the next conversation begins anew."""
    await cell.say(cell.called)
    ended = 'Skill ended: {"turns":2}'
    code = "(completedSuccessfully)"
    works = {
        "skill": [f"{ended} {code}"],
        "consumer": [ended],
        "middle": [ended, f"{ended} {code}"],
    }

    cell.check("end", await cell.say("end"), works[cell.role])
    heard = await cell.say(cell.called, "count")
    cell.check("after end", heard[1:], ["2 messages"])


@row("cancel")
async def test_cancelling(cell: Cell) -> None:
    """The user's word ends it at the first bot, and the skill at the far end has forgotten."""
    await cell.say(cell.called, "one more")
    call = await called_with(cell, f"mark {letters()}")
    works = [f"{cell.called} was cancelled.", "Skill ended: null (userCancelled)"]

    heard = await cell.say("cancel")
    end = await end_after(cell, call)
    is_here = end.sent["conversation"]["id"] == call.sent["conversation"]["id"]

    assert end.status // 100 == 2
    assert cell.role != "skill" or end.sent["code"] == "userCancelled"
    cell.check("cancelled", heard, ["cancelled"] if cell.role == "consumer" else works)
    cell.check("cancel", [is_here, await counted(cell, call)], [True, "1 messages"])


@row("change")
async def test_update_and_delete(cell: Cell) -> None:
    """The skill replaces one message and takes back another."""
    await cell.say(cell.called)
    cell.talk.news()

    await cell.talk.post("update")
    cell.check("update", steps(cell.talk.news()), [["send", "first"], ["update", "second"]])
    await cell.talk.post("delete")
    cell.check("delete", steps(cell.talk.news()), [["send", "gone"], ["delete", ""]])


@row("members")
async def test_members(cell: Cell) -> None:
    """The skill learns who is in the user's conversation."""
    await cell.say(cell.called)
    members = ",".join(sorted(cell.talk.members))

    cell.check("members", await cell.say("members"), [f"members: {members}"])
    cell.check("member", await cell.say("member"), ["member: ann"])


@row("proactive")
async def test_proactive(cell: Cell) -> None:
    """The skill speaks first while its conversation lasts, and is told when it does not."""
    heard = await cell.say(cell.called, "proactive")
    told = await cell.world.tell(cell.skill)
    heard += [entry.text for entry in cell.talk.news()]
    works = [f"Echo: {cell.called}", "later", "proactive hello"]

    cell.check("proactive", [heard, told["failed"]], [works, []])
    await cell.say("end")
    failed = (await cell.world.tell(cell.skill))["failed"]
    cell.check("proactive after end", failed, [404])


async def last_of(cell: Cell, word: str, **members: Any) -> dict[str, Any]:
    """What the skill said last to a word; nothing if it said nothing."""
    await cell.say(cell.called)
    await cell.talk.say(word, **members)
    entries = cell.talk.entries
    return entries[-1].activity if entries else {}


def pruned(value: Any) -> Any:
    """JSON without nulls and what is empty, which some SDKs add."""
    if isinstance(value, list):
        return [pruned(inner) for inner in value]
    if isinstance(value, dict):
        return {k: pruned(v) for k, v in value.items() if v not in (None, [], "")}
    return value


def plain(heard: list[str]) -> list[str]:
    """Texts without the escapes that some JSON writers use."""
    return [text.replace("\\u00fc", "ü") for text in heard]


def steps(entries: list[Entry]) -> list[list[str]]:
    """What was done at the channel, with which text."""
    return [[entry.operation, entry.text] for entry in entries]


def letters() -> str:
    """A word that was never said before; without digits, which a date could be made of."""
    return uuid4().hex.translate(str.maketrans("0123456789", "ghijklmnop"))


async def called_with(cell: Cell, text: str) -> Exchange:
    """Say a text; how the skill at the far end was called with it."""
    await cell.say(text)
    (call,) = cell.world.tap.sent(cell.skill, text)
    return call


async def end_after(cell: Cell, call: Exchange) -> Exchange:
    """The next end that the skill was sent after a call."""

    def is_end(one: Exchange) -> bool:
        return one.to == call.to and one.sent.get("type") == "endOfConversation"

    return await cell.world.tap.next(is_end, after=call)


async def counted(cell: Cell, call: Exchange) -> str:
    """What the skill says to `count` in the conversation of a call."""
    probe = call.sent | {"id": letters(), "text": "count", "deliveryMode": "expectReplies"}
    url = f"{cell.world.bots[call.to].url}/api/messages"
    answer = await cell.world.post(url, probe, caller=cell.caller, audience=call.to)
    assert answer.ok
    return str(json.loads(answer.body)["activities"][0]["text"])
