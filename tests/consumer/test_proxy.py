"""What skills ask of the user's channel: passed on whole, and to nobody else's advantage."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from skills_host import Root, Turn
from skills_host.bot.handlers import Handler
from skills_host.errors import TransportFailed
from skills_host.settings import Operation
from skills_host.transport import Request, Response
from tests.conftest import new_folder, open_town
from tests.consumer.asking import HELLO, answered, asked, at_channel
from tests.world import CONSOLE, IDS, ROOT, SKILLS, Lab, Town, bot_settings, skill_settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIST = "/v3/conversations"
EVERYTHING = {"operations": dict.fromkeys(Operation, "allowed")}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_minded(lab: Lab) -> AsyncIterator[Town]:
    """A root that lets its skills do everything."""
    with new_folder() as folder:
        town = await open_town(Town(folder, lab), echo=EVERYTHING, booking=EVERYTHING)
        yield town
        await town.close()


@pytest_asyncio.fixture(loop_scope="module")
async def talk(open_minded: Town) -> Town:
    """Ann is talking to the echo skill."""
    open_minded.send.faults.clear()
    await open_minded.say("echo")
    return open_minded


def channel_gives(town: Town, body: bytes, status: int = 200, **headers: str) -> list[Request]:
    """What the channel gets from now on; it answers so."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return at_channel(town, Response(status, named, body))


# Questions about the conversation

PASSED: dict[str, tuple[str, str, bytes | None]] = {
    "members": ("GET", "/members", None),
    "member": ("GET", "/members/29%3A1%2Fx", None),
    "activity members": ("GET", "/activities/a%7C1/members", None),
    "delete member": ("DELETE", "/members/ann", None),
    "paged members": ("GET", "/pagedmembers?pageSize=2&continuationToken=a%2Fb", None),
    "upload": ("POST", "/attachments", b'{"name":"a.png", "originalBase64":"AAAA"}'),
}


@pytest.mark.parametrize("name", PASSED)
async def test_question_reaches_the_channel_whole(talk: Town, name: str) -> None:
    """The conversation is the user's, the token the root's, all else as the skill wrote it."""
    method, path, body = PASSED[name]
    got = channel_gives(talk, b'{"id":"9", "n":1.10}', content_type="application/json")
    url = f"/v3/conversations/{talk.handle('echo')}{path}"
    answer = await asked(talk, method, url, body)

    assert (answer.status, answer.body) == (200, b'{"id":"9", "n":1.10}')
    assert (got[0].method, got[0].url) == (method, f"{CONSOLE}/v3/conversations/c1{path}")
    assert got[0].body == body
    assert got[0].headers["Authorization"] != talk.bearer("echo")["Authorization"]


async def test_only_paging_is_passed_of_a_query(talk: Town) -> None:
    """A page size of a sensible size, and the token; nothing that another client invented."""
    got = channel_gives(talk, b"[]")
    handle = talk.handle("echo")
    for query in ("pagedmembers?pageSize=9999&x=1&continuationToken=", "members?x=1&pageSize=3"):
        await asked(talk, "GET", f"/v3/conversations/{handle}/{query}")

    assert [request.url.partition("?")[2] for request in got] == ["pageSize=500", ""]


async def test_channel_is_paged_to_the_end(talk: Town) -> None:
    """With the console's own pages."""
    for user in ("bob", "eve"):
        talk.console.open("c1", user=user)
    found, token = [], ""
    while True:
        query = f"?pageSize=2&continuationToken={token}"
        _, page = await answered(talk, "GET", f"/{{}}/pagedmembers{query}")
        found += [member["id"] for member in page["members"]]
        if not (token := page.get("continuationToken", "")):
            break

    assert found == ["ann", "bob", "eve"]


@pytest.mark.parametrize("status", [200, 204])
async def test_empty_answers_stay_empty(talk: Town, status: int) -> None:
    """And 204 has no body, whatever the channel thinks."""
    channel_gives(talk, b"", status, content_type="text/html")
    url = f"/v3/conversations/{talk.handle('echo')}/members/bob"
    answer = await asked(talk, "DELETE", url)

    assert (answer.status, answer.body) == (status, b"")


REFUSALS = {
    404: 404,
    403: 403,
    413: 413,
    400: 400,
    401: 502,
    407: 502,
    408: 502,
    500: 502,
    302: 502,
}


@pytest.mark.parametrize("status", REFUSALS)
async def test_refusal_of_the_channel_keeps_its_meaning(talk: Town, status: int) -> None:
    """With our own words: the channel's may be about others."""
    channel_gives(talk, b'{"error":{"message":"private"}}', status)
    url = f"/v3/conversations/{talk.handle('echo')}/members"
    answer = await asked(talk, "GET", url)

    assert answer.status == REFUSALS[status]
    assert b"private" not in answer.body


async def test_busy_channel_says_when_to_come_back(talk: Town) -> None:
    """What it says is passed on where it is a number."""
    for given, passed in (("7", "7"), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("9" * 9, None)):
        channel_gives(talk, b"", 429, retry_after=given)
        answer = await asked(talk, "GET", f"/v3/conversations/{talk.handle('echo')}/members")

        assert (answer.status, answer.headers.get("retry-after")) == (429, passed)


async def test_questions_end_with_the_conversation(talk: Town) -> None:
    """After the end nothing is asked for the skill."""
    handle = talk.handle("echo")
    await answered(talk, "POST", "/{}/activities", {"type": "endOfConversation"})
    got = at_channel(talk)

    for method, path, body in PASSED.values():
        assert (await asked(talk, method, f"/v3/conversations/{handle}{path}", body)).status == 404
    assert not got


async def test_question_that_the_roots_middleware_stops_is_refused(lab: Lab) -> None:
    """The root's own code has the last word."""
    root = Root()

    async def no_questions(turn: Turn, call_next: Handler) -> None:
        if turn.activity.name != "ContinueConversation":
            await call_next(turn)

    root.use(no_questions)
    with new_folder() as folder:
        town = Town(folder, lab)
        await open_town(town, root, echo=EVERYTHING | {"delivery": "expectReplies"})
        await town.say("echo")
        got = at_channel(town)
        status, body = await answered(town, "GET", "/{}/members")
        await town.close()

    assert (status, body["error"]["code"]) == (403, "operation-refused")
    assert not got


@pytest.mark.parametrize("path", ["/{}/attachments", "/{}/activities/history", ""])
async def test_large_bodies_are_refused(talk: Town, path: str) -> None:
    """The same limit for whatever has a body."""
    got = at_channel(talk)
    body = b'{"originalBase64":"' + b"A" * 4 * 1024 * 1024 + b'"}'
    url = f"/v3/conversations{path.format(talk.handle('echo'))}"

    assert (await asked(talk, "POST", url, body)).status == 413
    assert not got


async def test_question_that_takes_too_long_is_a_timeout(talk: Town) -> None:
    """Of the channel's, not of the skill's."""

    def too_slow(_: Request) -> Response:
        raise TransportFailed(code="deadline")

    talk.send.faults[CONSOLE] = too_slow

    assert (await answered(talk, "GET", "/{}/members"))[0] == 504


# Attachments


async def uploaded(town: Town, attachment_id: str) -> None:
    """The echo skill uploads something, which gets this id."""
    channel_gives(town, json.dumps({"id": attachment_id}).encode(), 201)
    status, _ = await answered(town, "POST", "/{}/attachments", {"name": "x"})
    assert status == 201


async def test_attachment_comes_with_its_media_type(talk: Town) -> None:
    """Bytes as they are, not to be taken for anything else."""
    await uploaded(talk, "1/ü")
    got = channel_gives(talk, b"\x89PNG\x00", content_type="image/png")
    answer = await asked(talk, "GET", "/v3/attachments/1%2F%C3%BC/views/original")

    assert (answer.status, answer.body) == (200, b"\x89PNG\x00")
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert got[0].url == f"{CONSOLE}/v3/attachments/1%2F%C3%BC/views/original"


@pytest.mark.parametrize("path", ["", "/views/original"])
async def test_attachment_belongs_to_the_skill_that_uploaded_it(talk: Town, path: str) -> None:
    """To another it does not exist, and the channel is not asked."""
    await uploaded(talk, "5")
    got = at_channel(talk)
    answers = [
        await asked(talk, "GET", f"/v3/attachments/{which}{path}", skill=skill)
        for which, skill in (("5", "booking"), ("6", "echo"))
    ]

    assert [answer.status for answer in answers] == [404, 404]
    assert not got


async def test_attachment_is_forgotten_in_time(lab: Lab) -> None:
    """As long as a conversation is kept, so long is an upload."""
    with new_folder() as folder:
        town = Town(folder, lab)
        await open_town(town, echo=EVERYTHING, limits={"session_seconds": 60})
        await town.say("echo")
        await uploaded(town, "7")
        channel_gives(town, b"{}")
        early = await asked(town, "GET", "/v3/attachments/7")
        moment = town.now()
        town.now = lambda: moment + 61
        late = await asked(town, "GET", "/v3/attachments/7")
        await town.close()

    assert (early.status, late.status) == (200, 404)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"id":7}', b"text"])
async def test_upload_without_an_id_failed(talk: Town, body: bytes) -> None:
    """Nobody could ever ask for it."""
    channel_gives(talk, body)

    assert (await answered(talk, "POST", "/{}/attachments", {"name": "x"}))[0] == 502


# History


async def test_history_keeps_its_order_and_its_people(talk: Town) -> None:
    """Ids and times are the transcript's; who spoke is the user or the root, nobody else."""
    got = channel_gives(talk, b'{"id":"9"}')
    activities = [
        {"type": "message", "id": "1", "timestamp": "2030", "from": {"id": "ann"}, "text": "hi"},
        {"type": "message", "id": "2", "from": {"id": "x", "role": "bot"}, "text": "hello"},
        {"type": "endOfConversation", "id": "3"},
        {"type": "trace", "id": "4"},
    ]
    status, _ = await answered(
        talk, "POST", "/{}/activities/history", {"activities": activities, "more": 1}
    )
    sent = json.loads(got[0].body or b"")
    bot = f"bot-{IDS['root']}"

    assert (status, sent["more"]) == (200, 1)
    assert got[0].url == f"{CONSOLE}/v3/conversations/c1/activities/history"
    assert [(a["id"], a["from"]["id"]) for a in sent["activities"]] == [("1", "ann"), ("2", bot)]
    assert {a["conversation"]["id"] for a in sent["activities"]} == {"c1"}
    assert sent["activities"][0]["timestamp"] == "2030"


@pytest.mark.parametrize(
    ("activities", "status"),
    [([1], 400), ("x", 400), ([{"type": 5}], 400), ([HELLO] * 501, 413), (None, 200)],
)
async def test_odd_history_is_refused(talk: Town, activities: Any, status: int) -> None:
    """Or is none."""
    channel_gives(talk, b"{}")
    answer = await answered(talk, "POST", "/{}/activities/history", {"activities": activities})

    assert answer[0] == status


# New conversations


async def created(
    town: Town, body: dict[str, Any], *, skill: str = "echo", conversation: str = "new"
) -> dict[str, Any]:
    """What a skill is told that asks for a new conversation, which the channel gives this id."""
    ids = iter((conversation, f"{conversation}-1"))
    new_id, town.console.new_id = town.console.new_id, lambda: next(ids)
    try:
        answer = await asked(town, "POST", "/v3/conversations", body, skill=skill)
    finally:
        town.console.new_id = new_id
    told: dict[str, Any] = json.loads(answer.body)
    return told | {"status": answer.status}


async def test_user_of_a_new_conversation_reaches_its_skill(talk: Town) -> None:
    """Under an id of its own, which no other skill may use."""
    made = await created(talk, {"members": [{"id": "zoe"}], "activity": HELLO})

    assert (made["status"], made["serviceUrl"]) == (201, f"{ROOT}/api/skills")
    assert talk.said("new") == ["hello"]
    assert await talk.say("good day", user="zoe", conversation="new") == ["Echo: good day"]
    assert talk.handle("echo") == made["id"] != "new"
    foreign = await talk.callback("booking", made["id"], HELLO)
    assert foreign == (403, "not-conversation-owner")


async def test_first_words_of_a_new_conversation_are_the_skills(talk: Town) -> None:
    """It may change them by the channel's own id."""
    made = await created(talk, {"activity": HELLO}, conversation="changed")
    to = f"/{made['activityId']}"

    assert made["activityId"] == "changed-1"
    assert await talk.callback("echo", made["id"], HELLO, method="PUT", to=to) == (200, "")


async def test_new_conversation_is_the_roots(talk: Town) -> None:
    """The channel sees the root's account, and in the activity no address of another user."""
    got = channel_gives(talk, b'{"id":"n2","serviceUrl":"https://elsewhere.example/"}')
    lies = {"from": {"id": "x"}, "recipient": {"id": "ann"}, "conversation": {"id": "c9"}}
    made = await created(
        talk, {"bot": {"id": "x"}, "members": [{"id": "kim"}], "activity": HELLO | lies}
    )
    sent = json.loads(got[0].body or b"")

    assert (got[0].method, got[0].url) == ("POST", f"{CONSOLE}/v3/conversations")
    assert sent["bot"]["id"] == sent["activity"]["from"]["id"] == f"bot-{IDS['root']}"
    assert sent["activity"]["recipient"] == {"id": "kim"}
    assert not {"conversation", "replyToId"} & set(sent["activity"])
    assert "elsewhere" not in json.dumps(made)


async def test_event_is_no_way_to_begin(talk: Town) -> None:
    """What is not for users is left out; the conversation is made."""
    got = channel_gives(talk, b'{"id":"n3"}')
    await created(talk, {"members": [{"id": "kim"}], "activity": {"type": "event", "name": "x"}})

    assert "activity" not in json.loads(got[0].body or b"")


@pytest.mark.parametrize("body", [b"", b"{}", b"text", b'{"id":null}'])
async def test_channel_that_names_no_conversation_failed(talk: Town, body: bytes) -> None:
    channel_gives(talk, body)

    assert (await created(talk, {}))["status"] == 502


ELSEWHERE: dict[str, dict[str, Any]] = {
    "tenant": {"tenantId": "t-2"},
    "tenant of the data": {"channelData": {"tenant": {"id": "t-2"}}},
    "channel": {"activity": HELLO | {"channelId": "msteams"}},
}


@pytest.mark.parametrize("name", ELSEWHERE)
async def test_other_tenant_or_channel_is_refused(talk: Town, name: str) -> None:
    """Only where the skill already is."""
    got = at_channel(talk)
    made = await created(talk, ELSEWHERE[name])

    assert (made["status"], made["error"]["code"]) == (403, "other-tenant")
    assert not got


async def test_skill_without_a_conversation_cannot_create_one(talk: Town) -> None:
    """Nor after its last one has ended."""
    assert (await created(talk, {}, skill="booking"))["status"] == 403
    await talk.say("booking", conversation="short")
    assert (await created(talk, {}, skill="booking", conversation="made"))["status"] == 201
    for record in json.loads((await asked(talk, "GET", LIST, skill="booking")).body)[
        "conversations"
    ]:
        await talk.callback("booking", record["id"], {"type": "endOfConversation"})

    assert (await created(talk, {}, skill="booking"))["status"] == 403


async def test_new_conversation_is_in_the_tenant_of_the_old(talk: Town) -> None:
    """The channel is told the tenant, also where the skill named none."""
    where = {"id": "t", "tenantId": "T-1"}
    activity = talk.console.activity("echo", user="tim", conversation="t") | {"conversation": where}
    await talk.console.post(activity)
    got = channel_gives(talk, b'{"id":"n4"}')
    made = await created(talk, {"tenantId": "t-1", "members": [{"id": "kim"}]})

    assert made["status"] == 201
    assert json.loads(got[0].body or b"")["tenantId"] == "T-1"


async def test_user_who_talks_to_another_skill_goes_on_with_it(talk: Town) -> None:
    """A channel may give the conversation that it has: its floor is not taken away."""
    await talk.say("booking", user="leo", conversation="leo")
    made = await created(talk, {"members": [{"id": "leo"}], "activity": HELLO}, conversation="leo")
    before = len(talk.to_skill("echo"))

    assert await talk.say("Lisbon", user="leo", conversation="leo")
    assert len(talk.to_skill("echo")) == before
    assert await talk.callback("echo", made["id"], HELLO) == (200, "")


async def test_skill_that_has_the_floor_there_keeps_its_conversation(talk: Town) -> None:
    """One user, one skill, one id."""
    await talk.say("echo", user="mia", conversation="mia")
    handle = talk.handle("echo")
    made = await created(talk, {"members": [{"id": "mia"}]}, conversation="mia")

    assert made["id"] == handle


async def test_user_of_an_earlier_conversation_reaches_the_skill(talk: Town) -> None:
    """Where no skill has the floor any more, the new one gets it."""
    await talk.say("echo", user="ned", conversation="ned")
    await talk.say("end", user="ned", conversation="ned")
    await created(talk, {"members": [{"id": "ned"}]}, conversation="ned")

    assert await talk.say("me again", user="ned", conversation="ned") == ["Echo: me again"]


async def test_group_has_no_floor_to_give(talk: Town) -> None:
    """Each of its users has a session of their own."""
    members = [{"id": "bob"}, {"id": "eve"}]
    made = await created(talk, {"isGroup": True, "members": members}, conversation="many")

    assert await talk.callback("echo", made["id"], HELLO) == (200, "")
    assert talk.said("many") == ["hello"]
    said = await talk.say("who is there?", user="bob", conversation="many", is_group=True)
    assert said and said != ["Echo: who is there?"]


# Lists


async def test_skill_lists_its_own_conversations_only(talk: Town) -> None:
    """By their handles, without anything of the channel's."""
    await talk.say("booking", user="bea", conversation="bea")
    mine = json.loads((await asked(talk, "GET", LIST)).body)["conversations"]
    theirs = json.loads((await asked(talk, "GET", LIST, skill="booking")).body)["conversations"]
    ids = [found["id"] for found in mine]

    assert set(mine[0]) == {"id", "members"}
    assert talk.handle("booking") in {found["id"] for found in theirs}
    assert not set(ids) & {found["id"] for found in theirs}


async def test_list_comes_in_pages(talk: Town) -> None:
    """Each conversation once; the last page has no token."""
    whole = json.loads((await asked(talk, "GET", LIST)).body)["conversations"]
    found, token = [], ""
    while True:
        url = f"{LIST}?pageSize=2&continuationToken={token}"
        page = json.loads((await asked(talk, "GET", url)).body)
        found += page["conversations"]
        if not (token := page.get("continuationToken", "")):
            break

    assert len(whole) > 2
    assert found == whole


async def test_ended_conversations_are_not_listed(talk: Town) -> None:
    handle = talk.handle("echo")
    await answered(talk, "POST", "/{}/activities", {"type": "endOfConversation"})
    listed = json.loads((await asked(talk, "GET", LIST)).body)["conversations"]

    assert handle not in {found["id"] for found in listed}


async def test_roots_of_one_store_do_not_share_conversations(lab: Lab) -> None:
    """Nor their skills' conversations, lists and attachments: another root is another channel."""
    with new_folder() as folder:
        town = Town(folder, lab)
        await open_town(town, echo=EVERYTHING)
        await town.stop(ROOT)
        other = {
            "bots": {"root": bot_settings("root", "root"), "two": bot_settings("root", "stranger")}
        }
        skills = {"skills": {name: skill_settings(name) | EVERYTHING for name in SKILLS}}
        host = {"host": {"default_bot": "root"}}
        await town.start(ROOT, "root", other | skills | host)
        await town.say("echo")
        await uploaded(town, "5")
        town.send.faults.clear()
        headers = town.bearer("echo", audience="stranger")
        base = f"{ROOT}/bots/two/api/skills"
        listed = await town.send(Request("GET", f"{base}{LIST}", headers))
        read = await town.call("GET", f"{base}/v3/attachments/5", headers)
        made = await town.call("POST", f"{base}{LIST}", headers, b"{}")
        await town.close()

    assert json.loads(listed.body) == {"conversations": []}
    assert read == (404, "not-found")
    assert made == (403, "other-tenant")
