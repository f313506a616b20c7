"""`skills-host outbox`: what is still to be sent to channels, and what never was."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import unquote

import typer

from skills_host.channels.outbox import DEAD, KIND, Waiting, opened, place_of, sealed
from skills_host.cli.terminal import (
    ConfigOption,
    JsonOption,
    fail,
    print_json,
    settings_at,
    with_hosts,
    with_store,
)
from skills_host.store.records import Change, Delete, Put, Record, Store
from skills_host.store.seal import Keys, keys_of

__all__ = ["outbox"]

PAGE = 1000

IdsArgument = Annotated[list[str] | None, typer.Argument(help="Ids as they are listed.")]
DeadOption = Annotated[bool, typer.Option("--dead", help="All that were given up.")]

outbox = typer.Typer(help="What is still to be sent to channels.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class Letter:
    """One activity that waits or is dead, with the record that holds it."""

    record: Record
    waiting: Waiting

    @property
    def id(self) -> str:
        """What it is called on the command line: the same as long as it is there."""
        return hashlib.sha256(f"{place_of(self.record)} {self.waiting.key}".encode()).hexdigest()[
            :12
        ]

    @property
    def is_dead(self) -> bool:
        """True if nobody tries any more to send it."""
        return self.record.kind == DEAD


@dataclass(frozen=True, slots=True)
class Row:
    """How an activity is listed; nothing of what it says."""

    id: str
    state: str
    bot: str
    conversation: str
    type: str
    since: str
    tries: int
    why: str


@outbox.command("list")
def list_outbox(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List what waits and what was given up, the oldest first."""

    async def run(store: Store, keys: Keys) -> None:
        rows = [_row(letter) for letter in await _letters(store, keys)]
        if as_json:
            print_json([asdict(row) for row in rows])
            return
        for row in rows:
            typer.echo("  ".join(str(value) for value in asdict(row).values()))

    _with_keys(config, run)


@outbox.command("retry")
def retry(ids: IdsArgument = None, dead: DeadOption = False, config: ConfigOption = None) -> None:
    """Send again what was given up; a running host does so within seconds."""

    given = _given_keys(config)

    async def run(store: Store, wake: Callable[[], None]) -> None:
        keys = await keys_of(store, given)
        chosen = [letter for letter in await _chosen(store, keys, ids, dead=dead) if letter.is_dead]
        for letter in chosen:
            await store.write(await _revived(store, keys, letter))
        wake()
        typer.echo(f"{len(chosen)} to be sent again")

    with_hosts(config, run)


@outbox.command("drop")
def drop(ids: IdsArgument = None, dead: DeadOption = False, config: ConfigOption = None) -> None:
    """Forget what waits or was given up."""

    async def run(store: Store, keys: Keys) -> None:
        chosen = await _chosen(store, keys, ids, dead=dead)
        for letter in chosen:
            await store.write([await _without(store, keys, letter)])
        typer.echo(f"{len(chosen)} dropped")

    _with_keys(config, run)


async def _letters(store: Store, keys: Keys) -> list[Letter]:
    found: list[Letter] = []
    for kind in (KIND, DEAD):
        after = ""
        while page := await store.scan(kind, after=after, limit=PAGE):
            found += [Letter(record, one) for record in page for one in opened(keys, record)]
            after = page[-1].key
    return sorted(found, key=lambda letter: letter.waiting.since)


async def _chosen(
    store: Store, keys: Keys, ids: Iterable[str] | None, *, dead: bool
) -> list[Letter]:
    wanted = set(ids or ())
    letters = await _letters(store, keys)
    if unknown := wanted - {letter.id for letter in letters}:
        fail(f"nothing has the id {min(unknown)}")
    chosen = [letter for letter in letters if letter.id in wanted or (dead and letter.is_dead)]
    if not chosen:
        fail("give ids, or --dead" if not dead else "nothing is dead")
    return chosen


async def _revived(store: Store, keys: Keys, letter: Letter) -> list[Change]:
    """The changes that put something dead behind what waits in its conversation."""
    place = place_of(letter.record)
    record = (await store.read([(KIND, place)])).get((KIND, place))
    # From now on it has its whole time once more.
    again = replace(letter.waiting, since=time.time())
    queue = [*(opened(keys, record) if record else ()), again]
    expects = record.version if record else 0
    # Who empties the queue at the moment goes on; else it is begun with at once.
    owner = record.owner if record else ""
    due = record.due if record and owner else 0.0
    return [
        Put(KIND, place, sealed(keys, place, queue), expects=expects, owner=owner, due=due),
        Delete(DEAD, letter.record.key, expects=letter.record.version),
    ]


async def _without(store: Store, keys: Keys, letter: Letter) -> Change:
    kind, key = letter.record.kind, letter.record.key
    record = (await store.read([(kind, key)])).get((kind, key))
    if record is None:
        return Delete(kind, key)
    left = [one for one in opened(keys, record) if one.key != letter.waiting.key]
    if not left:
        return Delete(kind, key, expects=record.version)
    body = sealed(keys, key, left)
    return Put(kind, key, body, expects=record.version, owner=record.owner, due=record.due)


def _row(letter: Letter) -> Row:
    bot, _, _, conversation = map(unquote, place_of(letter.record).split("/"))
    waiting = letter.waiting
    since = datetime.fromtimestamp(waiting.since, UTC).isoformat(timespec="seconds")
    state = "dead" if letter.is_dead else "waiting"
    type = waiting.activity.type
    return Row(letter.id, state, bot, conversation, type, since, waiting.tries, waiting.why)


def _with_keys(config: ConfigOption, work: Callable[[Store, Keys], Awaitable[None]]) -> None:
    given = _given_keys(config)

    async def run(store: Store) -> None:
        await work(store, await keys_of(store, given))

    with_store(config, run)


def _given_keys(config: ConfigOption) -> list[str]:
    return [key.get_secret_value() for key in settings_at(config).host.keys]
