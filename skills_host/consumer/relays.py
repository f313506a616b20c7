"""Replies of answers on their way to the user: what a skill calls back comes after them.

In this process a callback waits for them; at another one it looks in the store. There, a record
stands for each call whose answer is to hold replies, from the commit before the call to the last
one of its turn. Only what takes longer to pass on is marked so in it, and then removed at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace

from skills_host.activity import Activity
from skills_host.bot.effects import Call
from skills_host.bot.turn import Turn
from skills_host.consumer.registry.compile import Skill
from skills_host.errors import SkillsHostError, VersionConflict
from skills_host.settings import Delivery
from skills_host.store.records import Append, Change, Delete, Key, Put, Record, Store, element_key
from skills_host.wire import decode, encode

__all__ = ["Heard", "Mark", "Relay", "Relays", "awaited", "places"]

log = logging.getLogger(__name__)

KIND = "answer"
PLACES = 3  # calls of one conversation at once, with what dead processes left, that are looked for
LATE = 0.05  # seconds after which others are told that replies are being passed on
GRACE = 0.2  # seconds that others give an answer to be told of: longer than that and a commit
LOOK = 0.02
PATIENCE = 5.0  # seconds for which what comes later waits at most
MARGIN = 60.0  # seconds that a call is known of beyond its skill's deadline

Heard = Callable[[Activity], Awaitable[None]]
"""Takes one reply of a skill."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What the store knows of a call with replies: its key, whose process it is, how far it is."""

    call: str
    by: str
    passing: bool = False

    def encode(self) -> bytes:
        """The mark as it is stored."""
        return encode(asdict(self))

    @classmethod
    def parse(cls, data: bytes) -> Mark:
        """The mark from its own `encode()`."""
        return cls(**decode(data))


def places(handle: str) -> list[Key]:
    """Where the calls of a conversation are marked."""
    return [(KIND, element_key(handle, n)) for n in range(1, PLACES + 1)]


def awaited(
    before: Mapping[str, Mark], now: Mapping[str, Mark], *, in_grace: bool
) -> dict[str, Mark]:
    """Of the answers that were waited for, those that are still to be waited for. Pure.

    One whose replies are being passed on, until they are not any more; one of which nothing is
    known only while there is time to tell: after that, the skill is calling during its call.
    """
    same = {key: mark for key, mark in now.items() if key in before}
    return {
        key: mark
        for key, mark in same.items()
        if mark.call == before[key].call
        and (mark.passing or (in_grace and not before[key].passing))
    }


class Relay:
    """The replies of one call: whether one is on its way, and since when others know.

    `record` is the call's own in the store, None if it has none.
    """

    def __init__(
        self, store: Store, mark: Mark, record: Record | None, *, now: Callable[[], float]
    ) -> None:
        self._store = store
        self._mark = mark
        self._record = record
        self._now = now
        self._passing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._told_at = 0.0
        self._in_vain = False

    async def passed_on(self, replies: Iterable[Activity], hear: Heard) -> None:
        """Pass replies on, one after the other."""
        self._note(True)
        try:
            for reply in replies:
                if not self._passing:
                    # Somebody was let go before.
                    self._note(True)
                await hear(reply)
        finally:
            self._note(False)

    def each(self, hear: Heard) -> Heard:
        """Passes on replies that come one by one."""

        async def heard(reply: Activity) -> None:
            await self.passed_on([reply], hear)

        return heard

    async def idle(self) -> None:
        """Wait until nothing is being passed on."""
        await self._idle.wait()

    async def let_go(self) -> None:
        """Let nobody wait for what is being passed on now."""
        self._note(False)
        await self._settled()
        if self._mark.passing:
            await self._marked(False)

    async def over(self) -> list[Change]:
        """What removes the record with the turn's last commit; if others wait, it is gone now."""
        self._note(False)
        await self._settled()
        record = self._record
        if record is None or not self._mark.passing:
            return [] if record is None else [Delete(KIND, record.key)]
        with suppress(SkillsHostError):
            await self._store.write([Delete(KIND, record.key, expects=record.version)])
        return []

    def _note(self, passing: bool) -> None:
        self._passing = passing
        if passing:
            self._idle.clear()
        else:
            self._idle.set()
        self._later()

    def _later(self) -> None:
        """Tell others in a moment, if it is still so then; again, before they have forgotten."""
        self._stop()
        if self._record is None or self._writing is not None or self._in_vain:
            return
        loop = asyncio.get_running_loop()
        if self._passing != self._mark.passing:
            self._timer = loop.call_later(LATE, self._tell)
        elif self._passing:
            self._timer = loop.call_at(self._told_at + PATIENCE, self._tell)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell(self) -> None:
        self._writing = asyncio.create_task(self._told())

    async def _told(self) -> None:
        await self._marked(self._passing)
        self._writing = None
        self._later()

    async def _settled(self) -> None:
        """Wait for what is being told, and begin to tell nothing more."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
        self._stop()

    async def _marked(self, passing: bool) -> None:
        """Write the mark, unless the record is not ours any more."""
        record, mark = self._record, Mark(self._mark.call, self._mark.by, passing)
        if record is None:
            return
        # Nobody waits for longer than this; who dies meanwhile keeps nobody for longer either.
        until = self._now() + 2 * PATIENCE if passing else record.expires
        put = Put(KIND, record.key, mark.encode(), expects=record.version, expires=until)
        self._told_at = asyncio.get_running_loop().time()
        try:
            (version,) = await self._store.write([put])
        except VersionConflict:
            # Forgotten, or taken up by another process: it is not ours to change, or to remove.
            self._record = None
        except SkillsHostError as exc:
            log.warning("other processes are not told that replies are passed on: %s", exc.code)
            self._in_vain = True
        else:
            self._mark, self._record = mark, replace(record, version=version)


class Relays:
    """The calls of one root whose answers hold replies; `by` names this process among others."""

    def __init__(self, store: Store, *, by: str, now: Callable[[], float], seconds: float) -> None:
        self._store = store
        self._by = by
        self._now = now
        self._seconds = seconds
        self._begun: dict[str, Relay] = {}
        self._open: dict[str, list[Relay]] = {}

    async def begin(
        self, turn: Turn, skill: Skill, call: Call, changes: Sequence[Change], *, mode: Delivery
    ) -> None:
        """Save the turn, the call and `changes` in one commit, and that replies are to come.

        Raises what `Turn.save` does.
        """
        changes = [*changes, turn.effects.begun(call)]
        if mode is Delivery.NORMAL:
            await turn.save(changes)
            return
        mark, until = Mark(call.key, self._by), self._until(skill)
        # What the turn's last call would remove with this commit goes on as this one's.
        change = _kept(turn, mark, call.handle, until) or _new(mark, call.handle, until)
        *_, number = await turn.save([*changes, change])
        self._begun[call.key] = self._relay(mark, change, number)

    @asynccontextmanager
    async def during(
        self, turn: Turn, skill: Skill, call: Call, *, mode: Delivery
    ) -> AsyncIterator[Relay]:
        """A call that was begun, here or by a process that died; after it, its record goes."""
        relay = self._begun.pop(call.key, None) or await self._taken_up(skill, call, mode)
        relays = self._open.setdefault(call.handle, [])
        relays.append(relay)
        try:
            yield relay
        finally:
            relays.remove(relay)
            if not relays:
                self._open.pop(call.handle, None)
            turn.keep(await relay.over())

    async def let_go(self, handle: str) -> None:
        """Let nobody wait any longer: the bot's code may want of the skill what would wait."""
        for relay in tuple(self._open.get(handle, ())):
            await relay.let_go()

    async def done(self, handle: str, found: Iterable[Record] = ()) -> None:
        """Wait until nothing is being passed on, here or elsewhere, if not for ever.

        `found` is what was read at `places`.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                for relay in tuple(self._open.get(handle, ())):
                    await relay.idle()
                await self._done_elsewhere(handle, found)

    async def _done_elsewhere(self, handle: str, found: Iterable[Record]) -> None:
        clock = asyncio.get_running_loop().time
        until, before = clock() + GRACE, self._of_others(found)
        while before:
            await asyncio.sleep(LOOK)
            now = self._of_others((await self._store.read(places(handle))).values())
            before = awaited(before, now, in_grace=clock() < until)

    def _of_others(self, found: Iterable[Record]) -> dict[str, Mark]:
        marks = {record.key: Mark.parse(record.body) for record in found if record.kind == KIND}
        return {key: mark for key, mark in marks.items() if mark.by != self._by}

    async def _taken_up(self, skill: Skill, call: Call, mode: Delivery) -> Relay:
        """A call of an earlier run of the turn: its record, if it is there still, is ours now."""
        mark, until = Mark(call.key, self._by), self._until(skill)
        if mode is Delivery.NORMAL:
            return Relay(self._store, mark, None, now=self._now)
        found = (await self._store.read(places(call.handle))).values()
        keys = (one.key for one in found if Mark.parse(one.body).call == call.key)
        key = next(keys, "")
        change = _again(mark, key, until) if key else _new(mark, call.handle, until)
        (number,) = await self._store.write([change])
        return self._relay(mark, change, number)

    def _relay(self, mark: Mark, change: Put | Append, number: int) -> Relay:
        key, version = change.key, number
        if isinstance(change, Append):
            key, version = element_key(change.key, number), 1
        record = Record(KIND, key, version, change.body, expires=change.expires)
        return Relay(self._store, mark, record, now=self._now)

    def _until(self, skill: Skill) -> float:
        return self._now() + (skill.seconds or self._seconds) + MARGIN


def _new(mark: Mark, handle: str, until: float) -> Append:
    # The number is nobody else's: what two calls at once remove is their own.
    return Append(KIND, handle, mark.encode(), expires=until)


def _again(mark: Mark, key: str, until: float) -> Put:
    return Put(KIND, key, mark.encode(), expires=until)


def _kept(turn: Turn, mark: Mark, handle: str, until: float) -> Put | None:
    """Marks a call in the place of one that the turn has still to remove, if there is one."""
    kept = (change.key for change in turn.kept if change.kind == KIND)
    key = next((key for key in kept if key.startswith(f"{handle}/")), "")
    return _again(mark, key, until) if key else None
