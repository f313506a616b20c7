"""Whatever is sent to a door, the answer is one that a peer can do something with."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skills_host.transport import Response
from tests.web.doors import DOORS, Door, door_of
from tests.world import CONSOLE, Town

pytestmark = pytest.mark.asyncio(loop_scope="module")
many = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    "type id name text code locale deliveryMode replyToId channelId serviceUrl from recipient"
    " conversation entities value channelData attachments membersAdded relatesTo timestamp"
    " callerId".split()
)
TYPES = st.sampled_from(
    "message event invoke endOfConversation typing conversationUpdate command trace"
    " invokeResponse installationUpdate messageReaction delay".split()
)
HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "Authorization", "Content-Length", "X-Ms-Conversation-Id"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f")),
)


@pytest_asyncio.fixture(params=[name for name in DOORS if "own" not in name], loop_scope="module")
async def door(request: pytest.FixtureRequest, shared_town: Town) -> AsyncIterator[Door]:
    """Each kind of door in turn."""
    opened = await door_of(shared_town, request.param)
    shared_town.send.faults[CONSOLE] = lambda _: Response(200, {}, b'{"id":"1"}')
    yield opened
    del shared_town.send.faults[CONSOLE]


def acceptable(answer: Response) -> bool:
    """True for success, a peer's mistake, and what is not offered."""
    assert 200 <= answer.status < 300 or 400 <= answer.status < 500 or answer.status == 501
    if answer.status >= 400 and answer.status != 501:
        assert set(json.loads(answer.body)["error"]) <= {"code", "message", "receipt"}
    return True


@many
@given(type=TYPES | st.text(max_size=5), members=st.dictionaries(MEMBERS, JSON, max_size=4))
async def test_any_activity_is_answered(door: Door, type: str, members: dict[str, Any]) -> None:
    """Members of any shape, in activities of any type."""
    body = json.dumps(door.activity | {"id": None, "type": type} | members)

    assert acceptable(await door.knock(body.encode()))


@many
@given(data=st.data())
async def test_any_bytes_are_answered(door: Door, data: st.DataObject) -> None:
    """Good bodies with bytes changed, and bytes that never were a body."""
    body = bytearray(json.dumps(door.activity).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=6))

    assert acceptable(await door.knock(bytes(body)))


@many
@given(headers=HEADERS)
async def test_any_headers_are_answered(door: Door, headers: dict[str, str]) -> None:
    """Whatever stands in the headers that are looked at."""
    assert acceptable(await door.knock(headers=headers))
