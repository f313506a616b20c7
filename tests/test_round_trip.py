"""From the channel to a skill and back: what nobody has to change, nobody changes."""

from __future__ import annotations

from itertools import count

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skills_host.transport import EVENT_STREAM, Request, Response
from skills_host.wire import decode, decode_members
from tests.consumer.asking import asked
from tests.documents import members, texts, values, written
from tests.world import CONSOLE, ROOT, SKILLS, Town

pytestmark = pytest.mark.asyncio(loop_scope="module")

# What docs/protocol.md names, in each direction.
TO_SKILL = {"relatesTo", "conversation", "serviceUrl", "recipient", "callerId", "deliveryMode"}
TO_USER = {
    *("from", "recipient", "conversation", "channelId", "serviceUrl"),
    *("replyToId", "callerId", "id"),
}
NUMBERS = count(1)
STRINGS = ["text", "timestamp", "localTimestamp", "expiration", "locale", "name", "code", "summary"]
FREE = ["value", "channelData", "attachments", "suggestedActions", "membersAdded", "label"]


@st.composite
def accounts(draw: st.DrawFn, id: str) -> str:
    """An account with this id, and members that nobody knows."""
    unknown = draw(st.dictionaries(texts.map("x-{}".format), values, max_size=2))
    return written({"id": f'"{id}"', **unknown})


@st.composite
def messages(draw: st.DrawFn) -> dict[str, str]:
    """The members of a message of Ann's, each as source."""
    strings = st.sampled_from(
        ['"2026-01-02T03:04:05.1234567+05:45"', '"soon"', r'"\u00e9\/"', '""', "null"]
    )
    found = draw(st.dictionaries(st.sampled_from(STRINGS), strings, max_size=4))
    found |= draw(st.dictionaries(st.sampled_from(FREE) | texts.map("x-{}".format), values))
    entities = draw(st.lists(members.map(lambda m: written({"type": '"x"'} | m)), max_size=2))
    return found | {
        "type": '"message"',
        "entities": "[ " + ",".join(entities) + "]",
        "channelId": '"console"',
        "serviceUrl": f'"{CONSOLE}"',
        "from": draw(accounts("ann")),
        "recipient": draw(accounts("bot")),
        "conversation": draw(accounts("trip")),
        "callerId": '"urn:x"',
    }


class Mirror:
    """A skill that says what it was told, byte for byte; and a channel that notes what it gets."""

    def __init__(self, town: Town, delivery: str) -> None:
        self.told = b""
        self.shown = b""
        self._town = town
        self._delivery = delivery
        town.send.faults[SKILLS["echo"]] = self._answer
        town.send.faults[CONSOLE] = self._note

    async def _answer(self, request: Request) -> Response:
        self.told = request.body or b""
        if self._delivery == "expectReplies":
            return Response(200, {}, b'{"activities":[' + self.told + b"]}")
        if self._delivery == "stream":
            lines = b"".join(b"data: " + line + b"\n" for line in self.told.splitlines())
            frame = b"event: activity\n" + lines + b"\n"
            return Response(200, {"content-type": EVENT_STREAM}, frame)
        handle = decode(decode_members(self.told)["conversation"])["id"]
        path = f"/v3/conversations/{handle}/activities"
        answer = await asked(self._town, "POST", path, self.told)
        return Response(answer.status)

    def _note(self, request: Request) -> Response:
        self.shown = request.body or b""
        return Response(200, {}, b'{"id":"1"}')

    async def told_and_shown(self, source: dict[str, str]) -> tuple[dict[str, bytes], ...]:
        """What the root is sent, what the skill gets, and what the channel gets back."""
        sent = written({**source, "id": f'"trip-{next(NUMBERS)}"'}, space=" ").encode()
        if self._delivery == "stream":
            # In a frame every line end is the same; between two tokens it means nothing.
            sent = b"\n".join(sent.splitlines())
        url = f"{ROOT}/api/messages"
        answer = await self._town.send(Request("POST", url, self._town.channel_bearer(), sent, 20))
        assert answer.status == 200, answer.body
        return tuple(map(decode_members, (sent, self.told, self.shown)))


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=["normal", "expectReplies", "stream"]
)
async def mirror(request: pytest.FixtureRequest, shared_town: Town) -> Mirror:
    """A mirror that Ann is talking to."""
    await shared_town.stop(ROOT)
    await shared_town.start_root(echo={"delivery": request.param})
    await shared_town.say("cancel", conversation="trip")
    found = Mirror(shared_town, request.param)
    await shared_town.post("echo", conversation="trip")
    return found


def without(found: dict[str, bytes], *names: str) -> dict[str, bytes]:
    """The members but for those."""
    return {name: raw for name, raw in found.items() if name not in names}


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(source=messages())
async def test_members_survive_the_journey(mirror: Mirror, source: dict[str, str]) -> None:
    """But for those that are documented, each is the same bytes at the skill and at the channel.

    Of the accounts, at the skill all but an id and a role; at the channel they are whole, and
    turned round.
    """
    sent, told, shown = await mirror.told_and_shown(source)
    # A skill that gives no locale speaks in the conversation's.
    named = TO_USER | ({"locale"} if told.get("locale", b"null") == b"null" else set())

    assert without(told, *TO_SKILL) == without(sent, *TO_SKILL)
    assert without(shown, *named) == without(told, *named)
    assert not {"callerId"} & {*told, *shown}

    for name, changed in (("conversation", "id"), ("recipient", "role")):
        there, here = decode_members(told[name]), decode_members(sent[name])
        assert without(there, changed) == without(here, changed)
    assert told["from"] == sent["from"]
    assert (shown["from"], shown["recipient"]) == (sent["recipient"], sent["from"])
    assert shown["conversation"] == sent["conversation"]
