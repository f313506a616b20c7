"""Handles and floors in the store: changed together, and only as they were read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skills_host.auth.claims import Identity
from skills_host.auth.denials import Denied
from skills_host.bot.turn import Place
from skills_host.consumer.conversations import (
    Conversations,
    Patience,
    SkillConversation,
)
from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.spoken import spoken_key
from skills_host.errors import UnknownConversation, VersionConflict
from skills_host.reference import ConversationReference
from skills_host.settings import Operation, Policy
from skills_host.store.records import Put
from skills_host.store.seal import Keys
from skills_host.store.sqlite import SqliteStore
from skills_host.transport import Request
from skills_host.wire import encode
from tests.conftest import open_town
from tests.consumer.roots import Witness
from tests.world import IDS, SKILLS, Town

ECHO, BOOKING = (
    Skill(name, name.title(), IDS[name], f"{SKILLS[name]}/api/messages") for name in SKILLS
)
PLACE = Place(ConversationReference("console", "http://c", b'{"id":"c1"}'), "scope", "session-1")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """A store of its own."""
    store = SqliteStore(tmp_path / "s.db", now=lambda: 100.0)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def conversations(store: SqliteStore) -> Conversations:
    """The conversations of the root."""
    count = iter(range(1, 100))
    return Conversations(
        store,
        keys=Keys.from_base64(["A" * 43]),
        host_app_id=IDS["root"],
        skills=dict,
        now=lambda: 100.0,
        random=lambda n: next(count).to_bytes(n, "big"),
        lifetime=60.0,
        patience=Patience(60.0, 600.0),
    )


def skill_of(name: str) -> Identity:
    """The skill as it calls back."""
    return Identity("skill", IDS["root"], IDS[name])


async def given(
    conversations: Conversations, store: SqliteStore, skill: Skill = ECHO
) -> SkillConversation:
    """The skill has the floor."""
    floor = await conversations.floor(PLACE.session)
    conversation, changes = conversations.given(floor, skill, PLACE)
    await store.write(changes)
    return conversation


async def test_given_conversation_is_found_by_its_skill(
    conversations: Conversations, store: SqliteStore
) -> None:
    """As it was stored."""
    conversation = await given(conversations, store)

    assert await conversations.find(conversation.handle, skill_of("echo")) == conversation
    assert (await conversations.floor(PLACE.session)).session.active is not None


async def test_given_conversation_is_not_found_by_another(
    conversations: Conversations, store: SqliteStore
) -> None:
    """Not even before it is looked up."""
    conversation = await given(conversations, store)

    with pytest.raises(Denied, match="another skill"):
        await conversations.find(conversation.handle, skill_of("booking"))


async def test_handle_without_a_record_has_ended(
    conversations: Conversations, store: SqliteStore
) -> None:
    """It was made here, so it was forgotten since."""
    floor = await conversations.floor(PLACE.session)
    conversation, _ = conversations.given(floor, ECHO, PLACE)

    with pytest.raises(UnknownConversation, match="ended"):
        await conversations.find(conversation.handle, skill_of("echo"))
    assert await conversations.end(PLACE.session, conversation.handle) is None


async def test_skill_with_the_floor_keeps_its_handle(
    conversations: Conversations, store: SqliteStore
) -> None:
    """From message to message."""
    first = await given(conversations, store)
    second = await given(conversations, store)

    assert first == second


async def test_floor_that_was_lost_cannot_be_kept(
    conversations: Conversations, store: SqliteStore
) -> None:
    """An end between reading and writing wins, and the closed handle stays closed."""
    conversation = await given(conversations, store)
    floor = await conversations.floor(PLACE.session)
    await conversations.end(PLACE.session, conversation.handle)
    _, late = conversations.given(floor, ECHO, PLACE)

    with pytest.raises(VersionConflict):
        await store.write(late)
    with pytest.raises(UnknownConversation):
        await conversations.find(conversation.handle, skill_of("echo"))


async def test_two_cannot_take_the_floor_at_once(
    conversations: Conversations, store: SqliteStore
) -> None:
    """The second decides again."""
    floor = await conversations.floor(PLACE.session)
    units = [conversations.given(floor, skill, PLACE)[1] for skill in (ECHO, BOOKING)]
    await store.write(units[0])

    with pytest.raises(VersionConflict):
        await store.write(units[1])


async def test_conversation_ends_once(conversations: Conversations, store: SqliteStore) -> None:
    """The second end finds it closed."""
    conversation = await given(conversations, store)

    ended = await conversations.end(PLACE.session, conversation.handle)
    assert ended is not None and ended.closed and ended.handle == conversation.handle
    assert await conversations.end(PLACE.session, conversation.handle) is None
    assert (await conversations.floor(PLACE.session)).session.active is None


async def test_end_of_an_old_conversation_leaves_the_floor(
    conversations: Conversations, store: SqliteStore
) -> None:
    """Even if it was never closed."""
    old = await given(conversations, store)
    floor = await conversations.floor(PLACE.session)
    _, changes = conversations.given(floor, BOOKING, PLACE)
    await store.write(changes)
    await conversations.end(PLACE.session, old.handle)

    active = (await conversations.floor(PLACE.session)).session.active
    assert active is not None
    assert active.skill == "booking"


LISTED = replace(ECHO, operations={Operation.LIST: Policy.ALLOWED})


def place_of(n: int, tenant: str | None = None) -> Place:
    """The place of a conversation of its own."""
    account = {"id": f"c{n}"} | ({"tenantId": tenant} if tenant else {})
    reference = ConversationReference("console", "http://c", encode(account))
    return Place(reference, "scope", f"session-{n}")


async def opened(
    conversations: Conversations, n: int, tenant: str | None = None, *, with_floor: bool = True
) -> str:
    """The handle of a conversation that begins with the skill."""
    return await conversations.open(LISTED, place_of(n, tenant), with_floor=with_floor)


async def test_owned_are_found_by_tenant(conversations: Conversations) -> None:
    """In any letters; a tenant is not found by the beginning of its name."""
    first = await opened(conversations, 1, "T-1")
    await opened(conversations, 2, "t-11")
    await opened(conversations, 3)
    found, more = await conversations.owned(IDS["echo"], tenant="t-1", limit=9)

    assert [conversation.handle for conversation in found] == [first]
    assert more == ""
    assert len((await conversations.owned(IDS["echo"], limit=9))[0]) == 3
    assert await conversations.owned(IDS["booking"], limit=9) == ([], "")


async def test_owned_are_found_in_pages(conversations: Conversations) -> None:
    """Each once, and never more than asked for."""
    handles = {await opened(conversations, n) for n in range(5)}
    found: list[str] = []
    after = ""
    while True:
        page, after = await conversations.owned(IDS["echo"], after=after, limit=2)
        assert len(page) <= 2
        found += [conversation.handle for conversation in page]
        if not after:
            break

    assert sorted(found) == sorted(handles)


async def test_skill_that_may_not_ask_is_not_listed(
    conversations: Conversations, store: SqliteStore
) -> None:
    """Nobody pays for what nobody asks."""
    await given(conversations, store)

    assert await conversations.owned(IDS["echo"], limit=9) == ([], "")
    assert await store.scan("owned", limit=9) == []


async def test_ended_conversation_is_not_owned(
    conversations: Conversations, store: SqliteStore
) -> None:
    handle = await opened(conversations, 1)
    await conversations.end("session-1", handle)

    assert await conversations.owned(IDS["echo"], limit=9) == ([], "")
    assert await store.scan("owned", limit=9) == []


async def test_two_that_open_at_once_share_the_floor(conversations: Conversations) -> None:
    """One takes it, the other finds it taken by the same skill."""
    handles = await asyncio.gather(*(opened(conversations, 1) for _ in range(3)))
    active = (await conversations.floor("session-1")).session.active

    assert active is not None
    assert set(handles) == {active.handle}


async def test_opening_without_the_floor_leaves_it(conversations: Conversations) -> None:
    """Whoever has it."""
    first = await opened(conversations, 1)
    second = await opened(conversations, 1, with_floor=False)
    active = (await conversations.floor("session-1")).session.active

    assert active is not None
    assert active.handle == first != second


async def test_turn_that_lost_the_floor_decides_again(
    empty_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The skill ends between two steps of a turn: the words go to whom they concern now."""
    root = Witness()
    town = await open_town(empty_town, root)
    await town.say("echo")
    handle, write = town.handle("echo"), SqliteStore.write
    pending = [{"type": "endOfConversation"}]

    async def overtaken(self: SqliteStore, changes: Any) -> Any:
        if pending and any(change.kind == "session" for change in changes):
            await town.callback("echo", handle, pending.pop())
        return await write(self, changes)

    monkeypatch.setattr(SqliteStore, "write", overtaken)
    before: list[Request] = list(town.send.sent)
    said = await town.say("booking")

    assert said == ["Where do you want to go?"]
    assert len(root.ends) == 1
    posts = [r for r in town.send.sent[len(before) :] if r.url.startswith(SKILLS["echo"])]
    assert not posts


async def test_what_a_skill_said_last_counts_however_much_it_said(
    conversations: Conversations, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids do not come in the order of time."""
    monkeypatch.setattr("skills_host.consumer.spoken.AT_ONCE", 2)
    handle = (await given(conversations, store)).handle
    for n, at in enumerate((10, 50, 20, 90, 30)):
        await store.write([Put(*spoken_key(handle, f"a{n}"), encode({"at": at}))])

    assert await conversations.spoken.last(handle) == 90
    assert await conversations.spoken.last("another") == 0
