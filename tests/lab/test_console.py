"""Tests of the console channel: what it posts, and the Connector REST API it serves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import jwt
import pytest

from skills_host.errors import UnknownConversation
from skills_host.lab.authority import Authority
from skills_host.lab.console import SPEAKER_HEADER, Console, create_console
from skills_host.lab.service import address_of, listening, serve_lab
from skills_host.transport import Client, Request, Response, Send
from tests.lab.world import CHANNEL, ROOT_ID, SKILL_ID, Clock, loopback

BASE = "http://127.0.0.1:9100"
BOT = "http://127.0.0.1:3978/api/messages"
STRANGE = "a:1/b c|%2F?#ü//"


@dataclass
class World:
    """A console with one conversation, and the bot's way into it."""

    console: Console
    authority: Authority
    send: Send
    posted: list[Request] = field(default_factory=list)

    async def call(
        self, method: str, path: str, body: Any = None, *, token: str = "", **headers: str
    ) -> tuple[int, Any]:
        """Status and JSON of a request of the bot."""
        bearer = token or self.authority.app_token(client_id=ROOT_ID, audience=CHANNEL)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        answer = await self.send(
            Request(method, f"{BASE}{path}", {"Authorization": f"Bearer {bearer}"} | named, raw)
        )
        return answer.status, json.loads(answer.body) if answer.body else None

    async def say(self, text: str, *, to: str = "c1", **headers: str) -> Any:
        """Send a message to a conversation; the answer's JSON."""
        path = f"/v3/conversations/{quote(to, safe='')}/activities"
        status, answer = await self.call("POST", path, {"type": "message", "text": text}, **headers)
        assert status == 200
        return answer

    @property
    def texts(self) -> list[str]:
        """What the user of conversation c1 sees."""
        return [entry.text for entry in self.console.conversation("c1").transcript.shown]


@pytest.fixture
def world(authority: Authority, clock: Clock) -> World:
    """A console in which user `ann` has opened conversation `c1`."""
    posted: list[Request] = []

    async def send(request: Request) -> Response:
        posted.append(request)
        return Response(202)

    async def channel_token() -> str:
        return authority.channel_token(audience=ROOT_ID, service_url=BASE)

    async def entra_keys() -> Mapping[str, Any]:
        return authority.entra_keys()

    console = Console(
        base_url=BASE,
        bot_url=BOT,
        bot_app_id=ROOT_ID,
        send=send,
        channel_token=channel_token,
        entra_keys=entra_keys,
        now=clock,
    )
    console.open("c1", user="ann")
    return World(console, authority, loopback(create_console(console)), posted)


# What it posts


def test_an_activity_is_whole(world: World) -> None:
    """Everything that a channel says about a message."""
    activity = world.console.activity("hi", user="ann", conversation="c1")

    assert activity["type"] == "message" and activity["id"]
    assert activity["timestamp"] == "2027-01-15T08:00:00.000Z"
    assert activity["from"] == {"id": "ann", "name": "ann", "role": "user"}
    assert activity["recipient"]["role"] == "bot" and activity["conversation"] == {"id": "c1"}
    assert (activity["channelId"], activity["serviceUrl"]) == ("console", BASE)


def test_a_group_says_that_it_is_one(world: World) -> None:
    """The bot keeps its sessions by user there."""
    activity = world.console.activity("hi", user="ann", conversation="g", is_group=True)

    assert activity["conversation"] == {"id": "g", "isGroup": True}


async def test_a_post_is_signed_by_the_channel(world: World) -> None:
    """The token is for the bot and vouches for the serviceUrl of the body."""
    activity = world.console.activity("grüß dich", user="ann", conversation="c1")

    answer = await world.console.post(activity)

    (request,) = world.posted
    token = request.headers["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (request.method, request.url, answer.status) == ("POST", BOT, 202)
    assert json.loads(request.body or b"") == activity
    assert (claims["aud"], claims["serviceurl"]) == (ROOT_ID, activity["serviceUrl"])


async def test_a_post_opens_its_conversation(world: World) -> None:
    """The bot may answer there from then on, and sees who wrote."""
    activity = world.console.activity("hi", user="bob", conversation="c2", is_group=True)

    await world.console.post(activity)

    opened = world.console.conversation("c2")
    assert opened.is_group and opened.members == {"bob": activity["from"]}


# What the bot may call


@pytest.mark.parametrize("path", ["activities", "activities/in%2Freply"])
async def test_a_sent_activity_is_in_the_transcript(world: World, path: str) -> None:
    """The channel gives it an id of its own."""
    status, answer = await world.call("POST", f"/v3/conversations/c1/{path}", {"text": "hello"})

    (entry,) = world.console.conversation("c1").transcript.entries
    assert status == 200 and answer == {"id": entry.activity_id}
    assert entry.text == "hello"
    assert entry.reply_to == ("in/reply" if "/" in path else None)


async def test_the_speaker_is_noted(world: World) -> None:
    """A host may say which skill wrote what it relays."""
    await world.say("hello", **{SPEAKER_HEADER: "echo"})

    assert world.console.conversation("c1").transcript.entries[0].speaker == "echo"


async def test_an_activity_can_be_updated_and_deleted(world: World) -> None:
    """Under the id that the channel gave it."""
    first, second = await world.say("one"), await world.say("two")
    path = "/v3/conversations/c1/activities"

    updated = await world.call("PUT", f"{path}/{first['id']}", {"text": "new"})
    deleted = await world.call("DELETE", f"{path}/{second['id']}")

    assert updated == (200, first) and deleted == (200, None)
    assert world.texts == ["new"]


async def test_a_retry_with_one_key_is_stored_once(world: World) -> None:
    """Two at once, and one later, get the same id."""
    answers = await asyncio.gather(
        *(world.say("hello", Idempotency_Key="turn-1/1") for _ in range(2))
    )
    answers.append(await world.say("hello", Idempotency_Key="turn-1/1"))

    assert world.texts == ["hello"] and len({answer["id"] for answer in answers}) == 1


async def test_ids_with_any_character_are_found(world: World) -> None:
    """Slashes, percent signs and letters beyond ASCII are parts of opaque ids."""
    world.console.open(STRANGE, user=STRANGE)

    await world.say("hello", to=STRANGE)
    escaped = quote(STRANGE, safe="")
    status, member = await world.call("GET", f"/v3/conversations/{escaped}/members/{escaped}")

    assert (status, member["id"]) == (200, STRANGE)
    assert len(world.console.conversation(STRANGE).transcript.entries) == 1


async def test_ids_survive_a_real_connection(world: World) -> None:
    """Client and server leave the escaped path as it is."""
    world.console.open(STRANGE)
    listener, stop, client = listening("127.0.0.1:0"), asyncio.Event(), Client()
    app = create_console(world.console)
    serving = asyncio.create_task(serve_lab(app, http=listener, shutdown=stop.wait))
    bearer = world.authority.app_token(client_id=ROOT_ID, audience=CHANNEL)
    path = f"/v3/conversations/{quote(STRANGE, safe='')}/activities"

    url = f"http://{address_of(listener)}{path}"
    answer = await client(Request("POST", url, {"Authorization": f"Bearer {bearer}"}, b"{}"))

    await client.close()
    stop.set()
    await serving
    assert answer.status == 200
    assert len(world.console.conversation(STRANGE).transcript.entries) == 1


async def test_a_second_slash_after_the_service_url_is_tolerated(world: World) -> None:
    """Clients join addresses in two ways."""
    status, _ = await world.call("POST", "//v3/conversations/c1/activities", {"text": "hello"})

    assert status == 200


async def test_members_come_whole_and_in_pages(world: World) -> None:
    """The last page names no next one."""
    for user in ("bob", "cat"):
        world.console.open("c1", user=user)
    path = "/v3/conversations/c1"

    _, whole = await world.call("GET", f"{path}/members")
    _, first = await world.call("GET", f"{path}/pagedmembers?pageSize=2")
    token = first["continuationToken"]
    _, last = await world.call("GET", f"{path}/pagedmembers?pageSize=2&continuationToken={token}")

    assert [member["id"] for member in whole] == ["ann", "bob", "cat"]
    assert first["members"] + last["members"] == whole and "continuationToken" not in last


async def test_the_bot_can_create_a_conversation(world: World) -> None:
    """With its members and a first activity."""
    wanted = {"isGroup": True, "members": [{"id": "bob"}], "activity": {"text": "hello bob"}}

    status, created = await world.call("POST", "/v3/conversations", wanted)

    opened = world.console.conversation(created["id"])
    (entry,) = opened.transcript.entries
    assert (status, created["serviceUrl"]) == (200, BASE)
    assert (entry.text, entry.activity_id) == ("hello bob", created["activityId"])
    assert opened.is_group and list(opened.members) == ["bob"]


async def test_a_conversation_is_created_without_activity(world: World) -> None:
    """The bot speaks later, or not at all."""
    _, created = await world.call("POST", "/v3/conversations", {"members": [{"id": "bob"}]})

    assert set(created) == {"id", "serviceUrl"}


# What is refused


REFUSED: dict[str, tuple[int, str, str, Any]] = {
    "an unknown conversation": (404, "POST", "/v3/conversations/c9/activities", {}),
    "an unknown activity": (404, "PUT", "/v3/conversations/c1/activities/a9", {}),
    "an unknown member": (404, "GET", "/v3/conversations/c1/members/zoe", None),
    "an unknown path": (404, "GET", "/v3/things", None),
    "an empty path": (404, "GET", "/", None),
    "a wrong method": (405, "PUT", "/v3/conversations/c1/members", {}),
    "a history": (501, "POST", "/v3/conversations/c1/activities/history", {}),
    "a list of conversations": (501, "GET", "/v3/conversations", None),
    "a body that is no JSON": (400, "POST", "/v3/conversations/c1/activities", b"{"),
    "a body that is no object": (400, "POST", "/v3/conversations/c1/activities", []),
    "a number that is none": (400, "POST", "/v3/conversations/c1/activities", b'{"n": NaN}'),
    "members that are none": (400, "POST", "/v3/conversations", {"members": ["bob"]}),
    "an id that is no UTF-8": (400, "POST", "/v3/conversations/%ff/activities", {}),
    "an empty id": (400, "POST", "/v3/conversations//activities", {}),
}


@pytest.mark.parametrize("reason", REFUSED)
async def test_a_request_is_refused_for(world: World, reason: str) -> None:
    """With the protocol's one error body, and nothing is stored."""
    expected, method, path, body = REFUSED[reason]

    status, answer = await world.call(method, path, body)

    assert status == expected and answer["error"]["code"]
    assert world.texts == []


async def test_a_bot_without_a_good_token_is_refused(world: World) -> None:
    """401 for a token that is not for the channel, 403 for another bot's."""
    path = "/v3/conversations/c1/activities"
    mint = world.authority.app_token

    for audience, client, expected in ((ROOT_ID, SKILL_ID, 401), (CHANNEL, SKILL_ID, 403)):
        token = mint(client_id=client, audience=audience)
        status, answer = await world.call("POST", path, {"text": "x"}, token=token)
        assert status == expected and token not in str(answer)

    assert world.texts == []


# Waiting


async def test_waiting_ends_when_the_bot_speaks(world: World) -> None:
    """Without asking again and again."""
    waiting = asyncio.create_task(world.console.next_activity("c1", after=0, timeout=5))
    await asyncio.sleep(0)

    await world.say("hello")

    assert (await waiting).text == "hello"


async def test_waiting_in_vain_times_out(world: World) -> None:
    """The caller says how long."""
    with pytest.raises(TimeoutError):
        await world.console.next_activity("c1", after=0, timeout=0)


async def test_waiting_in_an_unknown_conversation_is_refused(world: World) -> None:
    """Nothing can ever arrive there."""
    with pytest.raises(UnknownConversation):
        await world.console.next_activity("c9", after=0, timeout=1)
