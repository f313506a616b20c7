"""Ids are opaque: whatever a channel gives comes back to it whole."""

from __future__ import annotations

import json
from itertools import count
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skills_host.transport import Request, Response
from tests.consumer.asking import BASE, HELLO, asked, at_channel
from tests.world import CONSOLE, ROOT, Town

pytestmark = pytest.mark.asyncio(loop_scope="module")

ODD = {
    "teams": "19:meeting_Nz@thread.v2;messageid=1",
    "slash": "a/b//c/",
    "bar": "|a|",
    "semicolon": ";a=b;",
    "percent": "100%",
    "encoded slash": "%2F%2f",
    "encoded twice": "%252F",
    "query": "a?b=c&d",
    "fragment": "#1",
    "at": "@a:b",
    "space": " a b ",
    "plus": "a+b",
    "backslash": "a\\b",
    "quotes": "\"a'`",
    "braces": "{}[]<>",
    "dots inside": "a/../b",
    "three dots": "...",
    "accents": "é",
    "emoji": "👩‍👩‍👧🏽",
    "right to left": "مرحبا‮abc",
    "word of a route": "activities",
    "history": "history",
    "address": "https://evil.example/v3/conversations/x",
    "long": "ä/" * 600,
    "longest": "😀" * 1500,
}
IDS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]),
    min_size=1,
    max_size=12,
).filter(lambda text: text not in (".", ".."))
# The same activity twice would be a delivery that is repeated.
NUMBERS = count(1)
some = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(autouse=True)
def no_faults(shared_town: Town) -> None:
    """No test inherits the faults of the one before it."""
    shared_town.send.faults.clear()


async def check_there_and_back(town: Town, odd: str, *, activity_id: str) -> None:
    """A conversation and a user with this id: the answer to an activity finds its way."""
    got = at_channel(town)
    town.console.open(odd)
    activity = town.console.activity("echo", user=odd, conversation=odd)
    answer = await town.console.post(activity | {"id": activity_id})
    sent = json.loads(got[-1].body or b"")
    encoded, replied = quote(odd, safe=""), quote(activity_id, safe="")

    assert answer.status == 200
    assert got[-1].url == f"{CONSOLE}/v3/conversations/{encoded}/activities/{replied}"
    assert sent["conversation"]["id"] == sent["recipient"]["id"] == odd
    assert sent["replyToId"] == activity_id


@pytest.mark.parametrize("name", ODD)
async def test_odd_id_goes_to_a_skill_and_back(shared_town: Town, name: str) -> None:
    odd = ODD[name]
    await check_there_and_back(shared_town, odd, activity_id=odd if odd != "history" else "h")


@some
@given(odd=IDS)
async def test_any_id_goes_to_a_skill_and_back(shared_town: Town, odd: str) -> None:
    await check_there_and_back(shared_town, odd, activity_id=f"{odd}{next(NUMBERS)}")


async def test_answer_to_an_activity_called_history_is_one(shared_town: Town) -> None:
    """A POST to its address would mean another operation, so the conversation's is used."""
    shared_town.console.open("h1")
    activity = shared_town.console.activity("echo", user="ann", conversation="h1")
    await shared_town.console.post(activity | {"id": "history"})
    (entry,) = shared_town.console.conversation("h1").transcript.entries

    assert (entry.text, entry.activity["replyToId"]) == ("Echo: echo", "history")


async def check_changes(town: Town, odd: str, *, base: str = BASE) -> None:
    """What the channel gave this id can be changed, asked about and taken back by it."""
    await town.say("echo")
    conversation = f"/v3/conversations/{town.handle('echo')}"
    got = at_channel(town, Response(200, {}, json.dumps({"id": odd}).encode()))
    said = await asked(town, "POST", f"{conversation}/activities", HELLO, base=base)
    encoded = quote(odd, safe="")
    answers = [
        await asked(town, method, f"{conversation}/{path}", body, base=base)
        for method, path, body in (
            ("PUT", f"activities/{encoded}", HELLO),
            ("GET", f"activities/{encoded}/members", None),
            ("GET", f"members/{encoded}", None),
            ("DELETE", f"activities/{encoded}", None),
        )
    ]
    town.send.faults.clear()

    assert json.loads(said.body) == {"id": odd}
    assert [answer.status for answer in answers] == [200] * 4
    assert [request.url.removeprefix(f"{CONSOLE}/v3/conversations/c1/") for request in got[1:]] == [
        f"activities/{encoded}",
        f"activities/{encoded}/members",
        f"members/{encoded}",
        f"activities/{encoded}",
    ]


@pytest.mark.parametrize("name", ODD)
async def test_odd_id_of_the_channel_is_the_skills_to_use(shared_town: Town, name: str) -> None:
    await check_changes(shared_town, ODD[name])


@some
@given(odd=IDS)
async def test_any_id_of_the_channel_is_the_skills_to_use(shared_town: Town, odd: str) -> None:
    await check_changes(shared_town, odd)


@pytest.mark.parametrize("base", ["/api/skills", "/api/skills/", "/bots/root/api/skills"])
async def test_base_may_be_written_in_any_way(shared_town: Town, base: str) -> None:
    """Short, with a slash of its own, or with the bot's name."""
    await check_changes(shared_town, "/api/skills/v3/x", base=f"{ROOT}{base}")


# One SDK leaves some of these as they are, others encode all.
UNRESERVED = "-._~!$&'()*+,;=:@|"


@pytest.mark.parametrize("character", UNRESERVED)
async def test_unencoded_character_is_the_same_id(shared_town: Town, character: str) -> None:
    """Encoded or not, it is one id to us."""
    await shared_town.say("echo")
    odd = f"a{character}b"
    path = f"/v3/conversations/{shared_town.handle('echo')}/activities"
    at_channel(shared_town, Response(200, {}, json.dumps({"id": odd}).encode()))
    await asked(shared_town, "POST", path, HELLO)
    answers = [
        await asked(shared_town, "PUT", f"{path}/{written}", HELLO)
        for written in (odd, f"a%{ord(character):02X}b", f"a%{ord(character):02x}b")
    ]

    assert [answer.status for answer in answers] == [200] * 3


@pytest.mark.parametrize("odd", [".", "..", "%2E", "%2e%2E"])
async def test_dots_lead_nowhere_else(shared_town: Town, odd: str) -> None:
    """A question about such an id is refused, and an answer to it goes to the conversation."""
    await shared_town.say("echo")
    conversation = f"/v3/conversations/{shared_town.handle('echo')}"
    got = at_channel(shared_town, Response(200, {}, b'{"id":"1"}'))
    about = await asked(shared_town, "GET", f"{conversation}/members/{odd}")
    reply = await asked(shared_town, "POST", f"{conversation}/activities/{odd}", HELLO)

    assert (about.status, json.loads(about.body)["error"]["code"]) == (400, "bad-id")
    assert reply.status == 200
    assert [request.url for request in got] == [f"{CONSOLE}/v3/conversations/c1/activities"]


async def test_single_route_is_enough(shared_town: Town) -> None:
    """One SDK posts everything, an end too, to an activity's address."""
    await shared_town.say("echo", conversation="single")
    path = f"/v3/conversations/{shared_town.handle('echo')}/activities/null"
    bodies = ({"type": "message", "text": "one"}, {"type": "typing"}, {"type": "endOfConversation"})
    answers = [await asked(shared_town, "POST", path, body) for body in bodies]
    late: Request = shared_town.send.sent[-1]

    assert [answer.status for answer in answers] == [200, 200, 200]
    assert all(json.loads(answer.body)["id"] for answer in answers)
    assert shared_town.said("single")[-2:] == ["one", ""]
    assert (await shared_town.send(late)).status == 404
