"""`skills-host conversations`: which skills have the floor, and how to take it from them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from skills_host.cli.terminal import (
    ConfigOption,
    Exit,
    JsonOption,
    fail,
    print_json,
    with_hosts,
    with_store,
)
from skills_host.consumer.conversations import KIND, SkillConversation
from skills_host.consumer.watch import ORDERED
from skills_host.errors import VersionConflict
from skills_host.store.records import Put, Record, Store

__all__ = ["conversations", "ended", "open_conversations"]

PAGE = 1000
POLL = 0.25
WAIT = 10.0  # seconds in which a host that runs has ended it

SkillOption = Annotated[str | None, typer.Option("--skill", help="Only those with this skill.")]

conversations = typer.Typer(help="Open conversations with skills.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class Row:
    """One open conversation as it is listed; nothing of what was said in it."""

    handle: str
    skill: str
    since: str
    channel: str
    conversation: str


@conversations.command("list")
def list_conversations(
    config: ConfigOption = None, skill: SkillOption = None, as_json: JsonOption = False
) -> None:
    """List the conversations that skills have open."""

    async def run(store: Store) -> None:
        rows = [_row(found) for found in await open_conversations(store, skill=skill)]
        if as_json:
            print_json([_members(row) for row in rows])
            return
        for row in rows:
            typer.echo(f"{row.handle}  {row.since}  {row.skill}  {row.channel}")

    with_store(config, run)


@conversations.command("end")
def end(
    handle: Annotated[str | None, typer.Argument(help="The conversation's handle.")] = None,
    config: ConfigOption = None,
    skill: SkillOption = None,
) -> None:
    """End a conversation, or all with `--skill`: the skill, the user and the bot are told."""
    if (handle is None) == (skill is None):
        fail("give either a handle or --skill", status=Exit.USAGE)

    async def run(store: Store, wake: Callable[[], None]) -> None:
        found = await open_conversations(store, skill=skill)
        wanted = [one.handle for one in found if handle in (None, one.handle)]
        if not wanted:
            fail("no such conversation is open")
        left = await ended(store, wanted, wait=WAIT, wake=wake)
        typer.echo(f"{len(wanted) - len(left)} ended")
        if left:
            fail(f"{len(left)} not yet: is a host running?", status=Exit.UNREACHABLE)

    with_hosts(config, run)


async def open_conversations(store: Store, *, skill: str | None = None) -> list[SkillConversation]:
    """The open conversations in a store, the oldest first."""
    found: list[SkillConversation] = []
    after = ""
    while page := await store.scan(KIND, after=after, limit=PAGE):
        found += [SkillConversation.parse(record.key, record.body) for record in page]
        after = page[-1].key
    wanted = [one for one in found if not one.closed and skill in (None, one.skill)]
    return sorted(wanted, key=lambda one: one.since)


async def ended(
    store: Store, handles: list[str], *, wait: float, wake: Callable[[], None] = lambda: None
) -> list[str]:
    """Order the end of conversations; those that no host has ended in `wait` seconds.

    `wake` has hosts look for what is due.
    """
    left = list(handles)
    deadline = time.monotonic() + wait
    while True:
        # A message that comes in meanwhile makes the order unread: it is given again.
        left = [handle for handle in left if await _order(store, handle)]
        wake()
        if not left or time.monotonic() >= deadline:
            return left
        await asyncio.sleep(POLL)


async def _order(store: Store, handle: str) -> bool:
    """Make an open conversation due to be ended; True if it is open still."""
    record = (await store.read([(KIND, handle)])).get((KIND, handle))
    if record is None:
        return False
    conversation = SkillConversation.parse(handle, record.body)
    if conversation.closed:
        return False
    if conversation.ending != ORDERED:
        try:
            await store.write([_ordered(conversation, record)])
        except VersionConflict:
            return True
    return True


def _ordered(conversation: SkillConversation, record: Record) -> Put:
    body = replace(conversation, ending=ORDERED).encode()
    return Put(
        KIND,
        record.key,
        body,
        expects=record.version,
        owner=record.owner,
        expires=record.expires,
        due=0.0,
    )


def _row(found: SkillConversation) -> Row:
    reference = found.place.reference
    since = datetime.fromtimestamp(found.since, UTC).isoformat(timespec="seconds")
    return Row(found.handle, found.skill, since, reference.channel_id, reference.conversation_id)


def _members(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in Row.__slots__}
