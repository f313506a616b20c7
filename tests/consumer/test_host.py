"""Callbacks: what a skill says, changes and takes back reaches the channel under the right ids."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
import pytest_asyncio

from skills_host.errors import TransportFailed
from skills_host.transport import Request, Response
from tests.consumer.asking import HELLO, answered, at_channel, sent_as
from tests.world import CONSOLE, ROOT, Town

# Every test reads what it causes itself, so one town is enough for all of them.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def talk(shared_town: Town) -> Town:
    """Ann is talking to the echo skill."""
    await shared_town.say("echo")
    return shared_town


@pytest.fixture(autouse=True)
def no_faults(shared_town: Town) -> None:
    """No test inherits the faults of the one before it."""
    shared_town.send.faults.clear()


# Saying


async def test_skill_gets_the_channels_id(talk: Town) -> None:
    """It may change what it said by that id."""
    status, body = await answered(talk, "POST", "/{}/activities", HELLO)
    entry = talk.console.conversation("c1").transcript.entries[-1]

    assert (status, body) == (200, {"id": entry.activity_id})
    assert entry.text == "hello"


async def said_under(talk: Town, header: str, key: str, text: str) -> str:
    """The id that the echo skill gets for a text, sent with a key in a header."""
    url = f"{ROOT}/api/skills/v3/conversations/{talk.handle('echo')}/activities"
    body = json.dumps({"type": "message", "text": text}).encode()
    answer = await talk.send(Request("POST", url, talk.bearer("echo") | {header: key}, body))
    return str(json.loads(answer.body)["id"])


@pytest.mark.parametrize("header", ["Idempotency-Key", "x-ms-client-request-id"])
async def test_what_a_skill_repeats_under_its_key_is_said_once(talk: Town, header: str) -> None:
    """As clients do that do not know whether they were heard; it has the first answer again."""
    ids = [await said_under(talk, header, f"k {header}", "once") for _ in range(2)]
    heard = [entry.text for entry in talk.console.conversation("c1").transcript.entries]

    assert ids[0] == ids[1]
    assert heard[-2:] != ["once", "once"]
    assert heard[-1] == "once"


async def test_a_request_id_for_different_words_is_no_repetition(talk: Town) -> None:
    """It may be that of a whole operation."""
    ids = [await said_under(talk, "x-ms-client-request-id", "same", text) for text in "ab"]
    heard = [entry.text for entry in talk.console.conversation("c1").transcript.entries]

    assert ids[0] != ids[1]
    assert heard[-2:] == ["a", "b"]


async def test_skill_gets_an_id_where_the_channel_gives_none(talk: Town) -> None:
    """Some clients fail without one."""
    for given in (b"", b'"text"', b"text", b"{}", b'{"id":null}'):
        at_channel(talk, Response(200, {}, given))
        status, body = await answered(talk, "POST", "/{}/activities", HELLO)

        assert status == 200
        assert body["id"]


async def test_reply_answers_the_activity_of_its_address(talk: Town) -> None:
    """Ids may hold anything: they are decoded once and encoded again."""
    odd = "1|a/b:c;d?e#f%20 é+&=\\"
    got = at_channel(talk, Response(200, {}, b'{"id":"9"}'))
    path = "1%7Ca%2Fb%3Ac%3Bd%3Fe%23f%2520%20%C3%A9%2B%26%3D%5C"

    assert (await answered(talk, "POST", f"/{{}}/activities/{path}", HELLO))[0] == 200
    assert got[0].url == f"{CONSOLE}/v3/conversations/c1/activities/{path}"
    assert json.loads(got[0].body or b"")["replyToId"] == odd


async def test_unencoded_ids_are_taken_too(talk: Town) -> None:
    """One SDK encodes nothing that a path may hold as it is."""
    got = at_channel(talk, Response(200, {}, b'{"id":"9"}'))
    await answered(talk, "POST", "/{}/activities/1:2;3@4|5", HELLO)

    assert json.loads(got[0].body or b"")["replyToId"] == "1:2;3@4|5"


async def test_send_without_address_answers_the_last_activity(talk: Town) -> None:
    """So that threads stay together."""
    await talk.say("newest")
    newest = talk.to_skill("echo")[-1].id
    await answered(talk, "POST", "/{}/activities", HELLO)

    assert talk.console.conversation("c1").transcript.entries[-1].reply_to == newest


async def test_doubled_slash_after_the_service_url_is_taken(talk: Town) -> None:
    """Some clients add one whether or not there is one."""
    url = f"{ROOT}/api/skills//v3/conversations/{talk.handle('echo')}/activities"
    body = json.dumps(HELLO).encode()

    assert await talk.call("POST", url, talk.bearer("echo"), body) == (200, "")


async def test_addresses_come_from_the_record(talk: Town) -> None:
    """Whatever the skill writes, its words go to its own user."""
    lies = {
        "serviceUrl": "https://evil.example/",
        "channelId": "elsewhere",
        "conversation": {"id": "c2"},
        "from": {"id": "ann"},
        "recipient": {"id": "bob"},
        "callerId": "urn:botframework:azure",
        "id": "1",
    }
    got = at_channel(talk)
    await answered(talk, "POST", "/{}/activities", HELLO | lies)
    sent = json.loads(got[0].body or b"")

    assert got[0].url.startswith(f"{CONSOLE}/v3/conversations/c1/activities/")
    assert sent["serviceUrl"] == CONSOLE
    assert (sent["conversation"]["id"], sent["recipient"]["id"]) == ("c1", "ann")
    assert sent["channelId"] == "console"
    assert not {"callerId", "id"} & set(sent)


async def test_unknown_members_are_passed_on(talk: Town) -> None:
    """Byte for byte: numbers, escapes and order included."""
    got = at_channel(talk)
    url = f"{ROOT}/api/skills/v3/conversations/{talk.handle('echo')}/activities"
    odd = rb'"value":{"b":1.10,"a":1e400,"c":"\u00e9"},"x-new":[ 1, 2 ]'
    await talk.call("POST", url, talk.bearer("echo"), b'{"type":"message",' + odd + b"}")

    body = got[0].body or b""
    assert rb'{"b":1.10,"a":1e400,"c":"\u00e9"}' in body
    assert b"[ 1, 2 ]" in body


async def test_typing_and_unknown_types_are_passed_on(talk: Town) -> None:
    """The channel knows what to do with them."""
    for type in ("typing", "messageReaction", "newsFlash"):
        await answered(talk, "POST", "/{}/activities", {"type": type})
        last = talk.console.conversation("c1").transcript.entries[-1]

        assert last.activity["type"] == type


# Changing


async def test_update_replaces_what_was_said(talk: Town) -> None:
    """The id of the address counts, not the body's."""
    _, said = await answered(talk, "POST", "/{}/activities", HELLO)
    changed = HELLO | {"text": "changed", "id": "another", "conversation": {"id": "c2"}}
    answer = await answered(talk, "PUT", f"/{{}}/activities/{said['id']}", changed)
    entry = talk.console.conversation("c1").transcript.entries[-1]

    assert answer == (200, said)
    assert (entry.operation, entry.activity_id, entry.text) == ("update", said["id"], "changed")
    assert entry.activity["id"] == said["id"]


async def test_delete_takes_back_what_was_said(talk: Town) -> None:
    """An empty answer says that it is done."""
    _, said = await answered(talk, "POST", "/{}/activities", HELLO)
    answer = await answered(talk, "DELETE", f"/{{}}/activities/{said['id']}")
    entry = talk.console.conversation("c1").transcript.entries[-1]

    assert answer == (200, {})
    assert (entry.operation, entry.activity_id) == ("delete", said["id"])


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_odd_ids_reach_the_channel_whole(talk: Town, method: str) -> None:
    """An encoded slash is still one when it leaves."""
    await sent_as(talk, "a/../b?")
    got = at_channel(talk, Response(200))
    activity = HELLO if method == "PUT" else None
    status, body = await answered(talk, method, "/{}/activities/a%2F..%2Fb%3F", activity)

    assert status == 200
    assert (got[0].method, got[0].url) == (
        method,
        f"{CONSOLE}/v3/conversations/c1/activities/a%2F..%2Fb%3F",
    )
    assert body == ({"id": "a/../b?"} if method == "PUT" else {})


async def test_history_is_an_id_for_changes(talk: Town) -> None:
    """Only a POST means the operation of that name."""
    await sent_as(talk, "history")
    got = at_channel(talk, Response(200))
    await answered(talk, "DELETE", "/{}/activities/history")

    assert got[0].url.endswith("/c1/activities/history")


# Whose it is


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_what_the_skill_did_not_send_is_not_its_own(talk: Town, method: str) -> None:
    """Neither the user's words, nor the root's, nor what nobody ever said."""
    asked = talk.to_skill("echo")[-1].id
    await talk.say("help", conversation="c9")
    roots = talk.console.conversation("c9").transcript.entries[-1].activity_id
    got = at_channel(talk)
    activity = HELLO if method == "PUT" else None
    for activity_id in (asked, roots, "unknown"):
        path = f"/{{}}/activities/{activity_id}"
        status, body = await answered(talk, method, path, activity)

        assert (status, body["error"]["code"]) == (403, "not-activity-owner")
    assert not got


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_other_skill_of_the_same_user_cannot_change_it(talk: Town, method: str) -> None:
    """The user's conversation is one, the skills' are two."""
    where = {"user": "kay", "conversation": f"kay-{method}"}
    await talk.say("echo", **where)
    _, said = await answered(talk, "POST", "/{}/activities", HELLO)
    await talk.say("cancel", **where)
    await talk.say("booking", **where)
    activity = HELLO if method == "PUT" else None
    path = f"/{{}}/activities/{said['id']}"
    status, body = await answered(talk, method, path, activity, skill="booking")

    assert (status, body["error"]["code"]) == (403, "not-activity-owner")


async def test_later_conversation_does_not_own_what_an_earlier_one_sent(talk: Town) -> None:
    """The end is the end of its words too."""
    where = {"user": "lou", "conversation": "lou"}
    await talk.say("echo", **where)
    _, said = await answered(talk, "POST", "/{}/activities", HELLO)
    await talk.say("end", **where)
    await talk.say("echo", **where)

    assert (await answered(talk, "DELETE", f"/{{}}/activities/{said['id']}"))[0] == 403


@pytest.mark.parametrize(
    "type", ["endOfConversation", "event", "trace", "invokeResponse", "command"]
)
async def test_only_what_users_see_replaces_what_was_said(talk: Town, type: str) -> None:
    """An end does not reach a user's channel by being an update."""
    _, said = await answered(talk, "POST", "/{}/activities", HELLO)
    got = at_channel(talk)
    status, body = await answered(talk, "PUT", f"/{{}}/activities/{said['id']}", {"type": type})

    assert (status, body["error"]["code"]) == (400, "bad-activity")
    assert not got


async def test_two_at_once_are_both_the_skills(talk: Town) -> None:
    """Each gets its own id, and may change it."""
    sent = await asyncio.gather(
        *(answered(talk, "POST", "/{}/activities", HELLO | {"text": str(n)}) for n in range(5))
    )
    ids = [body["id"] for _, body in sent]
    changed = await asyncio.gather(
        *(answered(talk, "PUT", f"/{{}}/activities/{id}", HELLO) for id in ids)
    )

    assert len(set(ids)) == 5
    assert [body["id"] for _, body in changed] == ids


# What is not offered


NOT_OFFERED = [
    ("DELETE", "/{}/members/ann"),
    ("POST", "/{}/activities/history"),
    ("POST", "/{}/attachments"),
    ("POST", ""),
    ("GET", "?continuationToken=x"),
]


@pytest.mark.parametrize(("method", "path"), NOT_OFFERED)
async def test_other_operations_are_not_offered(talk: Town, method: str, path: str) -> None:
    """501 says that they are known."""
    got = at_channel(talk)
    status, body = await answered(talk, method, path, {} if method == "POST" else None)

    assert (status, body["error"]["code"]) == (501, "not-offered")
    assert not got


async def test_nobody_learns_what_is_offered_without_a_token(talk: Town) -> None:
    """The token comes first."""
    url = f"{ROOT}/api/skills/v3/conversations/x/members"

    assert await talk.call("GET", url, {}) == (401, "no-header")


@pytest.mark.parametrize("path", ["/{}/activities", "/{}/activities/1", "/{}/members", ""])
async def test_wrong_method_names_the_right_ones(talk: Town, path: str) -> None:
    """Allow lists what the address takes."""
    url = f"{ROOT}/api/skills/v3/conversations{path.format('h')}"
    answer = await talk.send(Request("PATCH", url))

    assert answer.status == 405
    assert set(answer.headers["allow"].split(", ")) <= {"GET", "POST", "PUT", "DELETE"}


# When the channel does not take it


def unreachable(_: Request) -> Response:
    raise TransportFailed(sent=False)


def too_slow(_: Request) -> Response:
    raise TransportFailed(code="deadline")


CHANNELS: dict[str, tuple[Callable[[Request], Response], tuple[int, str]]] = {
    "403": (lambda _: Response(403), (403, "channel-refused")),
    "413": (lambda _: Response(413), (413, "channel-refused")),
    "429": (lambda _: Response(429), (429, "channel-failed")),
    "500": (lambda _: Response(500, {}, b"private"), (502, "channel-failed")),
    "always 401": (lambda _: Response(401), (502, "channel-refused")),
    "unreachable": (unreachable, (502, "unreachable")),
    "too slow": (too_slow, (504, "deadline")),
}


@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_skill_learns_that_the_channel_failed(talk: Town, name: str, method: str) -> None:
    """With a code of ours, and nothing of the channel's own words."""
    await sent_as(talk, "1")
    talk.send.faults[CONSOLE], expected = CHANNELS[name]
    activity = None if method == "DELETE" else HELLO
    status, body = await answered(talk, method, "/{}/activities/1", activity)

    assert (status, body["error"]["code"]) == expected
    assert "private" not in json.dumps(body)


async def test_channel_gets_a_fresh_token_after_401(talk: Town) -> None:
    """One token more, one try more."""
    answers = [Response(200, {}, b'{"id":"7"}'), Response(401)]
    got: list[Request] = []

    def channel(request: Request) -> Response:
        got.append(request)
        return answers.pop()

    talk.send.faults[CONSOLE] = channel
    answer = await answered(talk, "POST", "/{}/activities", HELLO)

    assert answer == (200, {"id": "7"})
    assert got[0].body == got[1].body
    assert got[0].headers["Idempotency-Key"] == got[1].headers["Idempotency-Key"]
    assert got[0].headers["Authorization"] != got[1].headers["Authorization"]
