"""Skills as they answer: any success, and every way to fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from skills_host import Activity
from skills_host.auth.credentials import ClientSecret
from skills_host.auth.tokens import TokenSource
from skills_host.consumer.breaker import Breakers
from skills_host.consumer.client import SkillClient, replies_of
from skills_host.consumer.registry.compile import Skill
from skills_host.errors import SkillFailed, TransportFailed
from skills_host.settings import Cloud
from skills_host.store.coordination import LocalCoordination
from skills_host.transport import Request, Response
from tests.conftest import open_town
from tests.consumer.roots import EXPECT_REPLIES, Witness
from tests.world import IDS, LAB, SKILLS, Town, until

UNAVAILABLE = ["echo is not available right now. Please try again later."]


def answers(town: Town, *responses: Response) -> list[Request]:
    """The echo skill answers with these, one after the other; what it gets."""
    got: list[Request] = []
    left = list(responses)

    def skill(request: Request) -> Response:
        got.append(request)
        return left.pop(0) if len(left) > 1 else left[0]

    town.send.faults[SKILLS["echo"]] = skill
    return got


def listed(*activities: dict[str, Any], **more: Any) -> bytes:
    """The body of an expectReplies answer."""
    return json.dumps({"activities": activities} | more).encode()


def message(text: str) -> dict[str, Any]:
    """One reply."""
    return {"type": "message", "text": text}


# Success


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_any_success_is_delivered(town: Town, status: int) -> None:
    """Whatever stands in the body: nobody reads it."""
    for body in (b"", b"{}", b'{"id":"1"}', b"Accepted", b"\xff", b"[[["):
        answers(town, Response(status, {}, body))
        assert await town.say("echo") == []

    assert await town.say("booking") == []
    assert not town.to_skill("booking")


LISTS: dict[str, tuple[bytes, list[str]]] = {
    "in order": (listed(message("one"), message("two")), ["one", "two"]),
    "empty": (listed(), []),
    "null": (b'{"activities":null}', []),
    "missing": (b"{}", []),
    "no body": (b"", []),
    "white space": (b" \r\n", []),
    "with more beside it": (listed(message("one"), body={"a": 1}, id="x"), ["one"]),
}


@pytest.mark.parametrize("name", LISTS)
async def test_expected_replies_are_passed_on(empty_town: Town, name: str) -> None:
    """Every list that some SDK sends."""
    town = await open_town(empty_town, echo=EXPECT_REPLIES)
    body, said = LISTS[name]
    answers(town, Response(200, {}, body))

    assert await town.say("echo") == said


# Invokes with expectReplies: where the response stands depends on the SDK


INVOKES: dict[str, tuple[Response, tuple[int, Any]]] = {
    "an element": (
        Response(
            200, {}, listed({"type": "invokeResponse", "value": {"status": 202, "body": {"a": 1}}})
        ),
        (202, {"a": 1}),
    ),
    "an element of .NET": (
        Response(200, {}, listed({"type": "invokeResponse", "value": {"Status": 404}})),
        (404, None),
    ),
    "an element that is a text": (
        Response(200, {}, listed({"type": "invokeResponse", "value": "<InvokeResponse at 0x7f>"})),
        (500, None),
    ),
    "an element with a status that is none": (
        Response(200, {}, listed({"type": "invokeResponse", "value": {"status": True}})),
        (500, None),
    ),
    "the first of two elements": (
        Response(
            200,
            {},
            listed(
                {"type": "invokeResponse", "value": {"status": 201}},
                {"type": "invokeResponse", "value": {"status": 500}},
            ),
        ),
        (201, None),
    ),
    "beside the list": (Response(200, {}, listed(body={"b": 2})), (200, {"b": 2})),
    "beside the list, not found": (Response(404, {}, listed(body="nothing")), (404, "nothing")),
}


@pytest.mark.parametrize("name", INVOKES)
async def test_invoke_response_is_found(empty_town: Town, name: str) -> None:
    """As element or beside the list, in any case."""
    town = await open_town(empty_town, echo=EXPECT_REPLIES)
    response, expected = INVOKES[name]
    await town.say("echo")
    answers(town, response)
    answer = await town.post("", type="invoke", name="ask")

    assert (answer.status, json.loads(answer.body) if answer.body else None) == expected


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (Response(200, {}, b'{"a":1}'), (200, b'{"a":1}')),
        (Response(400, {}, b'{"error":{}}'), (400, b'{"error":{}}')),
        (Response(200, {}, b"fine"), (200, b'"fine"')),
        (Response(204, {}, b"surplus"), (204, b"")),
    ],
)
async def test_invoke_is_answered_by_the_status(
    town: Town, response: Response, expected: tuple[int, bytes]
) -> None:
    """Without expectReplies, the answer of the skill is the answer to the channel."""
    await town.say("echo")
    answers(town, response)
    answer = await town.post("", type="invoke", name="ask")

    assert (answer.status, answer.body) == expected


# Failure


def unreachable(_: Request) -> Response:
    raise TransportFailed(sent=False)


def too_slow(_: Request) -> Response:
    raise TransportFailed(code="deadline")


FAILURES: dict[str, tuple[Callable[[Request], Response], str]] = {
    "unreachable": (unreachable, "channelFailed"),
    "too slow": (too_slow, "botTimedOut"),
    "500": (lambda _: Response(500, {}, b"Traceback"), "channelFailed"),
    "404": (lambda _: Response(404), "channelFailed"),
    "a redirect": (lambda _: Response(307, {"location": "http://x/"}), "channelFailed"),
    "always 401": (lambda _: Response(401), "channelFailed"),
}


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("echo", [{}, EXPECT_REPLIES])
async def test_failing_skill_loses_the_floor(
    empty_town: Town, echo: dict[str, str], name: str
) -> None:
    """The user is told, the root hears of it, and the next message is free."""
    root = Witness()
    town = await open_town(empty_town, root, echo=echo)
    town.send.faults[SKILLS["echo"]], code = FAILURES[name]

    assert await town.say("echo") == UNAVAILABLE
    assert root.ends == [("echo", code, None)]
    assert await town.say("booking") == ["Where do you want to go?"]


@pytest.mark.parametrize(
    "body",
    [
        b"not JSON",
        b"[]",
        b'{"activities":{}}',
        b'{"activities":[1]}',
        b'{"activities":[{}]}',
        b'{"activities":[{"type":7}]}',
        b'{"activities":[{"type":"message","text":[]}]}',
        b'{"activities":[],"activities":[]}',
    ],
)
def test_malformed_replies_are_a_failure(body: bytes) -> None:
    """A list is good as a whole or not at all."""
    with pytest.raises(SkillFailed):
        replies_of(body)


async def test_nothing_of_a_malformed_list_is_said(empty_town: Town) -> None:
    """Not even the replies before the mistake."""
    town = await open_town(empty_town, echo=EXPECT_REPLIES)
    answers(town, Response(200, {}, b'{"activities":[{"type":"message","text":"one"},7]}'))

    assert await town.say("echo") == UNAVAILABLE


async def test_configured_text_is_said_of_a_failure(empty_town: Town) -> None:
    """`texts.unavailable` takes the place of the root's words."""
    town = await open_town(empty_town, echo={"texts": {"unavailable": "{title} sleeps."}})
    answers(town, Response(503))

    assert await town.say("echo") == ["echo sleeps."]


async def test_failure_after_the_end_is_nothing(town: Town) -> None:
    """A skill that ended properly and then failed needs no second word."""
    await town.say("echo")

    async def end_then_fail(request: Request) -> Response:
        await town.callback("echo", town.handle("echo"), {"type": "endOfConversation"})
        return Response(500)

    town.send.faults[SKILLS["echo"]] = end_then_fail

    assert await town.say("hello") == []
    assert await town.say("booking") == ["Where do you want to go?"]


async def test_skill_without_answer_times_out(empty_town: Town) -> None:
    """After its own limit; it is told, and not heard any more."""
    town = await open_town(empty_town, echo={"seconds": 0.05})

    async def never(request: Request) -> None:
        if b'"message"' in (request.body or b""):
            await asyncio.Event().wait()

    town.send.faults[SKILLS["echo"]] = never

    assert await town.say("echo") == UNAVAILABLE
    handle = town.handle("echo")
    assert await town.callback("echo", handle, message("late")) == (404, "conversation-ended")
    await until(lambda: [sent for sent in town.to_skill("echo") if sent.code == "botTimedOut"])


async def test_nothing_is_posted_twice(town: Town) -> None:
    """An activity is not a thing to repeat."""
    for response in (Response(500), Response(503), Response(502)):
        got = answers(town, response)
        await town.say("echo")

        assert len([request for request in got if b'"message"' in (request.body or b"")]) == 1


# Tokens


async def test_refused_token_is_replaced_once(town: Town) -> None:
    """A skill that answers 401 has done nothing yet: one fresh token, one more try."""
    await town.say("echo")
    town.authority.app_token(client_id="x", audience="y")
    got = answers(town, Response(401), Response(200))
    fetched = len([r for r in town.send.sent if r.url.startswith(LAB)])

    assert await town.say("hello") == []
    assert len(got) == 2
    assert got[0].body == got[1].body
    assert len([r for r in town.send.sent if r.url.startswith(LAB)]) == fetched + 1


async def test_token_is_for_exactly_that_skill(town: Town) -> None:
    """The channel's token never goes to a skill, nor one skill's to another."""
    await town.say("echo")
    await town.say("end")
    await town.say("booking")
    tokens = {
        base: {r.headers["Authorization"] for r in town.send.sent if r.url.startswith(base)}
        for base in (*SKILLS.values(), "http://127.0.0.1:9001")
    }

    assert all(len(seen) == 1 for seen in tokens.values())
    assert len(set.union(*tokens.values())) == 3


async def test_authority_that_gives_no_token_fails_the_skill(town: Town) -> None:
    """The user is told like of any other failure."""
    await town.say("booking")
    await town.say("cancel")
    town.send.faults[LAB] = lambda _: Response(500)

    assert await town.say("echo") == UNAVAILABLE


async def test_skill_gets_the_headers_of_the_protocol(town: Town) -> None:
    """Bearer token, JSON in UTF-8, and the conversation id."""
    await town.say("echo")
    (request,) = [r for r in town.send.sent if r.url.startswith(SKILLS["echo"])]

    assert request.headers["Authorization"].startswith("Bearer ")
    assert request.headers["Content-Type"] == "application/json; charset=utf-8"
    assert request.headers["x-ms-conversation-id"] == town.handle("echo")
    assert Activity.parse(request.body or b"").conversation.id == town.handle("echo")


# Asked to come back later


BUSY = {"retry-after": "0"}


@pytest.mark.parametrize("status", [429, 503])
async def test_busy_skill_is_asked_again(town: Town, status: int) -> None:
    """It says that it did nothing yet, and when to come back; twice at most."""
    got = answers(town, Response(status, BUSY), Response(status, BUSY), Response(200))

    assert await town.say("echo") == []
    assert len(got) == 3
    assert len({request.body for request in got}) == 1


async def test_skill_that_stays_busy_is_unavailable(town: Town) -> None:
    """The user is told, and the floor is free."""
    got = answers(town, Response(503, BUSY))

    assert await town.say("echo") == UNAVAILABLE
    assert len(got) == 3


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (503, {}),
        (503, {"retry-after": "6"}),
        (429, {"retry-after": "99999999999999999999"}),
        (503, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}),
        (503, {"retry-after": "-1"}),
        (503, {"retry-after": "٣"}),
        (500, BUSY),
        (502, BUSY),
        (504, BUSY),
    ],
)
async def test_other_failures_are_not_repeated(
    town: Town, status: int, headers: dict[str, str]
) -> None:
    """What may have been done already, or would take too long, is not tried again."""
    got = answers(town, Response(status, headers))

    assert await town.say("echo") == UNAVAILABLE
    assert len(got) == 1


async def test_pause_is_as_long_as_asked(town: Town) -> None:
    """The seconds of the header, and not more often than the skill says."""
    paused: list[float] = []

    async def pause(seconds: float) -> None:
        paused.append(seconds)

    async def send(request: Request) -> Response:
        if request.url.startswith(LAB):
            return await town.send(request)
        return Response(429, {"retry-after": "5"})

    tokens = TokenSource(
        send,
        cloud=Cloud(login_url=LAB),
        credential=ClientSecret(IDS["root"], "", "root-secret"),
        now=town.now,
    )
    breakers = Breakers(
        "root", coordination=LocalCoordination(), now=lambda: 0.0, most=99, seconds=1.0
    )
    client = SkillClient(send, tokens, breakers, pause=pause)
    skill = Skill("echo", "Echo", IDS["echo"], f"{SKILLS['echo']}/api/messages")
    with pytest.raises(SkillFailed):
        await client.post(skill, Activity.make("message"), conversation_id="c")
    await tokens.close()

    assert paused == [5.0, 5.0]
