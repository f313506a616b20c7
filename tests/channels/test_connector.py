"""The Connector REST client: addresses, tokens, and what a channel's answer means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from skills_host import Activity
from skills_host.auth.credentials import ClientSecret
from skills_host.auth.tokens import TokenSource
from skills_host.channels.connector import Connector, conversation_url
from skills_host.errors import BadInput, ChannelFailed, TransportFailed
from skills_host.settings import Cloud
from skills_host.transport import Request, Response
from skills_host.wire import encode

CHANNEL = "https://channel.example/teams"
TOKEN = Response(200, {}, encode({"access_token": "t", "expires_in": 3600, "token_type": "Bearer"}))
ADDRESSED = Activity.make(
    "message", text="hi", service_url=f"{CHANNEL}/", conversation={"id": "a;b/c"}, reply_to_id="1|2"
)


class Channel:
    """A channel and its authority: answers in order, the last one for ever."""

    def __init__(self, *answers: Response | TransportFailed) -> None:
        self.got: list[Request] = []
        self.pauses: list[float] = []
        self._answers = list(answers)

    async def __call__(self, request: Request) -> Response:
        if not request.url.startswith(CHANNEL):
            return TOKEN
        self.got.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, TransportFailed):
            raise answer
        return answer

    async def paused(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def connector(self, **more: Any) -> Connector:
        """A connector to it."""
        secret = ClientSecret("a0000000-0000-4000-8000-000000000001", "", "s")
        tokens = TokenSource(self, cloud=Cloud(), credential=secret, now=lambda: 0.0)
        scope = "https://api.botframework.com"
        return Connector(self, tokens, scope, pause=self.paused, **more)


@pytest.mark.parametrize("base", [CHANNEL, f"{CHANNEL}/"])
def test_address_is_put_together_with_one_slash(base: str) -> None:
    """Ids are percent-encoded whole."""
    assert (
        conversation_url(base, "a;b/c|d", "activities", "%2F é")
        == f"{CHANNEL}/v3/conversations/a%3Bb%2Fc%7Cd/activities/%252F%20%C3%A9"
    )


async def test_reply_goes_to_the_activity_it_answers() -> None:
    """What answers nothing goes to the conversation."""
    channel = Channel(Response(201, {}, b'{"id":"9"}'))
    connector = channel.connector()

    assert await connector.send(ADDRESSED, key="k1") == "9"
    assert await connector.send(ADDRESSED.with_(reply_to_id=None), key="k2") == "9"
    paths = [request.url.removeprefix(f"{CHANNEL}/v3/conversations/") for request in channel.got]
    assert paths == ["a%3Bb%2Fc/activities/1%7C2", "a%3Bb%2Fc/activities"]
    assert [request.headers["Idempotency-Key"] for request in channel.got] == ["k1", "k2"]
    assert channel.got[0].body == ADDRESSED.encode()


@pytest.mark.parametrize("odd", [".", ".."])
async def test_reply_to_a_dot_goes_to_the_conversation(odd: str) -> None:
    """In a path it would lead elsewhere; the body still says what is answered."""
    channel = Channel(Response(200))
    await channel.connector().send(ADDRESSED.with_(reply_to_id=odd), key="k")

    assert channel.got[0].url == f"{CHANNEL}/v3/conversations/a%3Bb%2Fc/activities"
    assert Activity.parse(channel.got[0].body or b"").reply_to_id == odd


@pytest.mark.parametrize("odd", [".", ".."])
async def test_dots_are_no_ids_in_any_other_path(odd: str) -> None:
    """Encoded or not, what tidies paths on the way would ask for something else."""
    channel = Channel(Response(200))
    connector = channel.connector()
    with pytest.raises(BadInput) as caught:
        await connector.ask("DELETE", CHANNEL, "v3", "conversations", "c1", "members", odd)
    with pytest.raises(BadInput):
        await connector.update(ADDRESSED, activity_id=odd)

    assert caught.value.code == "bad-id"
    assert not channel.got


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("0", 0), ("30", 30), ("", None), ("-1", None), ("1.5", None), ("٣", None), ("100000", None)],
)
async def test_channel_says_when_it_listens_again(given: str, seconds: int | None) -> None:
    """In seconds; anything else is as good as nothing."""
    with pytest.raises(ChannelFailed) as caught:
        await Channel(Response(429, {"retry-after": given})).connector().send(ADDRESSED, key="k")

    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("names", [True, False])
async def test_only_a_lab_is_told_who_spoke(names: bool) -> None:
    """To the world there is one bot."""
    channel = Channel(Response(200))
    await channel.connector(names_speaker=names).send(ADDRESSED, key="k", speaker="echo")

    assert channel.got[0].headers.get("x-skills-host-speaker") == ("echo" if names else None)


async def test_update_keeps_the_id_where_the_channel_gives_none() -> None:
    """Some channels answer with nothing."""
    channel = Channel(Response(200))

    assert await channel.connector().update(ADDRESSED, activity_id="a/1") == "a/1"
    assert channel.got[0].method == "PUT"
    assert channel.got[0].url.endswith("/activities/a%2F1")


REFUSALS: list[tuple[int, str]] = [
    (400, "channel-refused"),
    (403, "channel-refused"),
    (404, "channel-refused"),
    (408, "channel-failed"),
    (429, "channel-failed"),
    (500, "channel-failed"),
    (302, "channel-failed"),
]


@pytest.mark.parametrize(("status", "code"), REFUSALS)
async def test_refusal_is_told_from_failure(status: int, code: str) -> None:
    """Trying again helps with the one and not with the other."""
    with pytest.raises(ChannelFailed) as caught:
        await Channel(Response(status)).connector().send(ADDRESSED, key="k")

    assert (caught.value.code, caught.value.answered) == (code, status)


@pytest.mark.parametrize(
    "act",
    [
        lambda connector: connector.send(ADDRESSED, key="k"),
        lambda connector: connector.update(ADDRESSED, activity_id="1"),
    ],
)
async def test_refused_token_is_replaced_once(act: Callable[[Connector], Any]) -> None:
    """A second 401 is final."""
    channel = Channel(Response(401), Response(200))
    await act(channel.connector())
    stubborn = Channel(Response(401))
    with pytest.raises(ChannelFailed):
        await act(stubborn.connector())

    assert len(channel.got) == len(stubborn.got) == 2


# Trying again

REFUSED = TransportFailed(sent=False)
BROKEN = TransportFailed("a peer broke off")
LATE = TransportFailed(code="deadline")
BUSY = Response(429, {"retry-after": "2"})
TAKEN = Response(200, {}, b'{"id":"9"}')


@pytest.mark.parametrize(
    ("answers", "pauses"),
    [
        ([TAKEN], []),
        ([REFUSED, REFUSED, TAKEN], [0.1, 0.4]),
        ([BUSY, Response(503, {"retry-after": "0"}), TAKEN], [2, 0]),
        ([BROKEN, TAKEN], [0.1]),
        ([Response(502), TAKEN], [0.1]),
        ([Response(504), REFUSED, TAKEN], [0.1, 0.4]),
    ],
)
async def test_what_can_be_sent_again_is(
    answers: list[Response | TransportFailed], pauses: list[float]
) -> None:
    """With the same key, so that whoever honours it takes it once."""
    channel = Channel(*answers)

    assert await channel.connector().send(ADDRESSED, key="k") == "9"
    assert channel.pauses == pauses
    assert {request.headers["Idempotency-Key"] for request in channel.got} == {"k"}
    assert len({request.body for request in channel.got}) == 1


@pytest.mark.parametrize(
    ("answers", "times"),
    [
        ([REFUSED], 4),
        ([BUSY], 4),
        ([BROKEN], 2),
        ([Response(502), BROKEN], 2),
        ([BROKEN, REFUSED, BROKEN], 3),
        ([LATE], 1),
        ([Response(500)], 1),
        ([Response(429, {"retry-after": "6"})], 1),
        ([Response(429)], 1),
        ([Response(403)], 1),
    ],
)
async def test_what_cannot_be_sent_again_fails(
    answers: list[Response | TransportFailed], times: int
) -> None:
    channel = Channel(*answers)
    with pytest.raises((ChannelFailed, TransportFailed)):
        await channel.connector().send(ADDRESSED, key="k")

    assert len(channel.got) == times


async def test_what_may_have_arrived_is_marked(caplog: pytest.LogCaptureFixture) -> None:
    await Channel(BROKEN, TAKEN).connector().send(ADDRESSED, key="k")

    assert caplog.messages == ["a POST to the channel is sent again: unreachable"]


async def test_questions_are_asked_once() -> None:
    channel = Channel(BROKEN)
    with pytest.raises(TransportFailed):
        await channel.connector().ask("GET", CHANNEL, "v3", "conversations", "c", "members")

    assert len(channel.got) == 1
