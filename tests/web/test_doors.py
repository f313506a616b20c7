"""Bad requests at every door: refused in order, in one shape, without doing anything."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from typing import Any

import pytest
import pytest_asyncio

from skills_host import wire
from skills_host.errors import CODES
from skills_host.transport import Request, Response
from skills_host.web import guard
from tests.conftest import new_folder
from tests.web.doors import DOORS, Door, door_of, error_of
from tests.world import IDS, ROOT, SKILLS, Exchange, Lab, Town

# Refusals leave nothing behind, so one town is enough for all of them.
pytestmark = pytest.mark.asyncio(loop_scope="module")
module_fixture = pytest_asyncio.fixture(loop_scope="module")

MIB = 1024 * 1024
LONG = "x" * 1501


@pytest_asyncio.fixture(params=DOORS, loop_scope="module")
async def door(request: pytest.FixtureRequest, shared_town: Town) -> Door:
    """Each door in turn."""
    return await door_of(shared_town, request.param)


@pytest_asyncio.fixture(params=["messages", "skill host"], loop_scope="module")
async def kind(request: pytest.FixtureRequest, shared_town: Town) -> Door:
    """Each kind of door in turn; what reads the body is the same behind every prefix."""
    return await door_of(shared_town, request.param)


@module_fixture
async def messages(shared_town: Town) -> Door:
    """Where channels call."""
    return await door_of(shared_town, "messages")


@module_fixture
async def skill_host(shared_town: Town) -> Door:
    """Where skills call back."""
    return await door_of(shared_town, "skill host")


def refused(answer: Response, code: str) -> bool:
    """True for the code, its status in the table, and a message."""
    status, error = error_of(answer)
    assert (status, error["code"]) == (CODES[code].status, code)
    return bool(error["message"])


# The order: each of these requests is also wrong in everything that is checked later.


async def test_method_is_checked_first(door: Door) -> None:
    """A method that the address does not take is answered before anything else is looked at."""
    answer = await door.knock(b"{", method="PATCH", without=["Authorization"], Content_Type="a/b")

    assert refused(answer, "method")
    assert answer.headers["allow"].split(", ") == ["POST"] or "OPTIONS" not in door.path
    assert "POST" in answer.headers["allow"]


async def test_content_type_is_checked_before_length(door: Door) -> None:
    """Only JSON is worth measuring."""
    answer = await door.knock(
        b"{", without=["Authorization"], Content_Type="text/plain", Content_Length=str(64 * MIB)
    )

    assert refused(answer, "content-type")


async def test_length_is_checked_before_the_token(door: Door) -> None:
    """Too much is refused as soon as it is announced."""
    answer = await door.knock(b"{", without=["Authorization"], Content_Length=str(64 * MIB))

    assert refused(answer, "too-large")


async def test_token_is_checked_before_the_body(door: Door) -> None:
    """Nobody learns anything about bodies without a token."""
    answer = await door.knock(b"{", without=["Authorization"])

    status, error = error_of(answer)
    assert (status, error["code"]) == (401, "no-header")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_nothing_is_done_by_refused_requests(door: Door) -> None:
    """No skill, no channel and no store sees anything of them."""
    await door.knock(b"{", method="PATCH")
    before = door.done()

    assert (await door.knock(Content_Type="text/plain")).status == 415
    assert (await door.knock(Authorization="Bearer a.b.c")).status == 401
    assert (await door.knock(b"[1]")).status == 400
    assert (await door.with_members(type="")).status == 400
    assert door.done() == before


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE"])
async def test_only_post_is_taken(door: Door, method: str) -> None:
    """The activities of a conversation and the messages of a bot are posted."""
    answer = await door.knock(method=method)

    assert (answer.status, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("kind_of", ["application/json; charset=utf-8", "application/x.y+json"])
async def test_json_content_types_are_taken(door: Door, kind_of: str) -> None:
    """Parameters and structured suffixes do not matter."""
    assert (await door.knock(Content_Type=kind_of)).status == 200


@pytest.mark.parametrize(
    "kind_of", ["", "json", "application/jsonp", "text/json", ";", "multipart"]
)
async def test_other_content_types_are_refused(kind: Door, kind_of: str) -> None:
    """Nothing is guessed."""
    assert refused(await kind.knock(Content_Type=kind_of), "content-type")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api",
        "/api/message",
        "/bots/nobody/api/messages",
        "/api/skills",
        "/api/skills/v3",
        "/api/skills/v3/attachments",
        "/api/skills/v3/conversations/h/elsewhere",
        "/api/skills/v4/conversations/h/activities",
        "/api%2Fskills/v3/conversations/h/activities",
    ],
)
async def test_unknown_paths_are_not_found(messages: Door, path: str) -> None:
    """With or without a token there is nothing."""
    messages.path = path

    assert refused(await messages.knock(), "not-found")


async def test_trailing_slash_is_the_same_address(door: Door) -> None:
    """Peers are careless about slashes."""
    door.path += "/"

    assert (await door.knock()).status == 200


# Bodies


async def test_large_bodies_without_length_are_refused(door: Door) -> None:
    """A body that comes in pieces is counted while it comes."""
    answer = await door.knock(pieces=[b" " * MIB] * 5)

    assert refused(answer, "too-large")


async def test_bodies_in_pieces_are_read_whole(door: Door) -> None:
    """Where the pieces end means nothing."""
    body = json.dumps(door.activity).encode()

    assert (await door.knock(pieces=[body[:7], body[7:20], body[20:]])).status == 200


async def test_slow_body_is_refused_by_name(lab: Lab) -> None:
    """Whoever announces a body and does not send it keeps nobody waiting."""
    with new_folder() as folder:
        town = Town(folder, lab)
        app: Any = await town.start_root(limits={"body_seconds": 0.01})
        exchange = Exchange(Request("POST", f"{ROOT}/api/messages", town.channel_bearer(), b"{}"))
        exchange.events = asyncio.Queue()
        await app(exchange.scope, exchange.receive, exchange.send)
        await town.close()

    assert refused(exchange.response(), "slow-body")


BAD_BODIES = {
    "empty": (b"", "bad-json"),
    "broken": (b'{"type":"message"', "bad-json"),
    "trailing": (b'{"type":"message"} {}', "bad-json"),
    "a list": (b"[1]", "bad-json"),
    "a string": (b'"message"', "bad-json"),
    "null": (b"null", "bad-json"),
    "NaN": (b'{"type":"message","value":NaN}', "bad-json"),
    "Infinity": (b'{"type":"message","value":-Infinity}', "bad-json"),
    "not UTF-8": (b'{"type":"message","text":"\xff\xfe"}', "bad-json"),
    "UTF-16": ('{"type":"message"}'.encode("utf-16"), "bad-json"),
    "lone surrogate": (rb'{"type":"message","text":"\ud800"}', "bad-json"),
    "too deep": (b'{"type":"message","value":' + b"[" * 64 + b"]" * 64 + b"}", "too-deep"),
    "very deep": (b'{"type":"message","value":' + b"[" * 99999 + b"]" * 99999 + b"}", "too-deep"),
    "doubled": (b'{"type":"message","type":"event"}', "duplicate-member"),
    "doubled by escape": (rb'{"type":"message","\u0074ype":"event"}', "duplicate-member"),
    "no type": (b'{"text":"hello"}', "missing-member"),
    "null type": (b'{"type":null}', "missing-member"),
    "empty type": (b'{"type":""}', "missing-member"),
    "numeric type": (b'{"type":5}', "bad-activity"),
}


@pytest.mark.parametrize("body", BAD_BODIES)
async def test_bad_bodies_are_refused(kind: Door, body: str) -> None:
    """Each with its own code."""
    data, code = BAD_BODIES[body]

    assert refused(await kind.knock(data), code)


async def test_sixty_four_levels_are_taken(kind: Door) -> None:
    """The limit itself is inside."""
    value: Any = 1
    for _ in range(63):
        value = [value]

    assert (await kind.with_members(value=value)).status == 200


WRONG_TYPES = {
    "id": 7,
    "name": ["x"],
    "text": {"a": 1},
    "code": 3,
    "locale": True,
    "replyToId": 1.5,
    "from": "ann",
    "recipient": ["bot"],
    "conversation": 9,
    "entities": {"type": "mention"},
}


@pytest.mark.parametrize("member", WRONG_TYPES)
async def test_wrong_types_are_refused(kind: Door, member: str) -> None:
    """Before anything is done, and with the member's name."""
    before = kind.done()

    answer = await kind.with_members(**{member: WRONG_TYPES[member]})
    assert refused(answer, "bad-activity")
    assert member in error_of(answer)[1]["message"]
    assert kind.done() == before


async def test_end_of_wrong_type_ends_nothing(skill_host: Door) -> None:
    """A refused end leaves the floor where it is."""
    answer = await skill_host.with_members(type="endOfConversation", name=5)

    assert refused(answer, "bad-activity")
    assert await skill_host.town.say("still there?") == ["Echo: still there?"]


MISSING: dict[str, dict[str, Any]] = {
    "conversation.id": {"conversation": {"name": "no id"}},
    "channelId": {"channelId": None},
    "from.id": {"from": {"id": ""}},
}


@pytest.mark.parametrize("member", MISSING)
async def test_missing_members_are_refused(messages: Door, member: str) -> None:
    """Whatever comes from a user says who and where."""
    answer = await messages.with_members(**MISSING[member])

    assert refused(answer, "missing-member")
    assert member in error_of(answer)[1]["message"]


ABSURD: dict[str, dict[str, Any]] = {
    "type": {"type": LONG},
    "id": {"id": LONG},
    "channelId": {"channelId": "con\x00sole"},
    "from.id": {"from": {"id": "ann\n"}},
    "conversation.id": {"conversation": {"id": LONG}},
    "recipient.id": {"recipient": {"id": "\x1b[2J"}},
    "replyToId": {"replyToId": "\x7f"},
}


@pytest.mark.parametrize("member", ABSURD)
async def test_absurd_ids_are_refused(messages: Door, member: str) -> None:
    """Too long, or with control characters."""
    answer = await messages.with_members(**ABSURD[member])

    assert refused(answer, "bad-id")
    assert member in error_of(answer)[1]["message"]


@pytest.mark.parametrize("given", [LONG, "%00", "a%09b", "%7F", "%FF"])
async def test_absurd_ids_in_paths_are_refused(skill_host: Door, given: str) -> None:
    """The same goes for the ids of the address."""
    skill_host.path += f"/{given}"

    assert refused(await skill_host.knock(), "bad-id")


async def test_longest_id_is_taken(messages: Door) -> None:
    """The limit itself is inside."""
    assert (await messages.with_members(id=LONG[:-1])).status == 200


async def test_unknown_types_are_ignored(shared_town: Town) -> None:
    """What nobody understands is accepted, and that is all."""
    activity = shared_town.console.activity("x", user="ann", conversation="news") | {
        "type": "newsFlash"
    }
    before = len(shared_town.to_skill("echo"))

    assert (await shared_town.console.post(activity)).status == 200
    assert not shared_town.said("news")
    assert len(shared_town.to_skill("echo")) == before


async def test_bare_end_is_accepted(shared_town: Town) -> None:
    """Some hosts send an end without addresses; there is nothing to act on."""
    url, headers = f"{SKILLS['echo']}/api/messages", shared_town.bearer("root", audience="echo")

    before = shared_town.records("inbound", of="echo")

    bare = await shared_town.call("POST", url, headers, b'{"type":"endOfConversation"}')
    assert bare == (200, "")
    assert shared_town.records("inbound", of="echo") == before


async def test_large_bodies_are_read_beside_the_loop(
    kind: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four megabytes of brackets are taken apart in another thread."""
    threads = []
    read = wire.decode_members

    def noting(data: bytes) -> dict[str, bytes]:
        threads.append(threading.current_thread())
        return read(data)

    monkeypatch.setattr(guard, "decode_members", noting)
    start = b'{"type":[' + b"[]," * ((4 * MIB - 20) // 3)
    assert refused(await kind.knock(start + b"[]]}"), "too-large")
    await kind.knock()

    assert threads[0] is not threading.main_thread()
    assert threads[1] is threading.main_thread()


# What is said about it


async def test_nothing_private_is_logged(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    """Neither tokens nor bodies nor ids reach the log, whatever becomes of the request."""
    caplog.set_level(logging.DEBUG)
    secret = "c0nfidential"
    good = {"text": secret, "value": {secret: secret}, "channelData": {"token": secret}}

    await door.with_members(**good)
    await door.with_members(**good, name=[secret])
    await door.knock(f'{{"type":"message","text":"{secret}'.encode())
    await door.knock(Authorization=f"Bearer {secret}.{secret}.{secret}")
    await door.knock(Authorization=door.headers["Authorization"][:-4] + "AAAA")
    door.path = door.path.replace("/api", f"/{secret}/api")
    await door.knock()

    assert secret not in caplog.text
    assert door.headers["Authorization"].split()[1][:40] not in caplog.text


async def test_errors_do_not_repeat_what_was_sent(kind: Door) -> None:
    """An error names members, never their contents."""
    for members in ({"name": ["c0nfidential"]}, {"type": "", "text": "c0nfidential"}):
        answer = await kind.with_members(**members)

        assert answer.status == 400
        assert b"c0nfidential" not in answer.body


async def test_unforeseen_errors_have_the_same_shape(
    kind: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of ours says only that there was one."""

    def broken(data: bytes) -> dict[str, bytes]:
        raise ZeroDivisionError("of the innermost kind")

    monkeypatch.setattr(guard, "decode_members", broken)
    answer = await kind.knock()

    assert refused(answer, "internal")
    assert b"innermost" not in answer.body


async def test_health_needs_no_token(shared_town: Town) -> None:
    """The probes say one word each."""
    for path in ("/healthz", "/readyz"):
        assert await shared_town.call("GET", f"{ROOT}{path}", {}) == (200, "")


async def test_messages_of_one_bot_are_not_for_another(shared_town: Town) -> None:
    """A token is for one bot, whichever address it comes to."""
    headers = shared_town.authority.channel_token(
        audience=IDS["echo"], service_url="http://127.0.0.1:9001"
    )
    url = f"{ROOT}/bots/root/api/messages"
    given = {"Authorization": f"Bearer {headers}", "Content-Type": "application/json"}

    assert await shared_town.call("POST", url, given, b"{}") == (401, "audience")
