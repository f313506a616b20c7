"""Intake: record → lane → turn in a task that the host owns → answer.

The HTTP request that brought an activity only waits. It may go away at any time: the turn goes on,
and the same activity delivered again gets the first answer without a second effect.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from skills_host.activity import Activity
from skills_host.addressing import joined_key
from skills_host.auth.claims import Identity
from skills_host.bot.adapter import Adapter, Answer, Said
from skills_host.errors import (
    SkillsHostError,
    StateConflict,
    StoreFailed,
    VersionConflict,
    error_body,
)
from skills_host.store.records import ANY, NEW, Put, Store
from skills_host.store.seal import Keys
from skills_host.wire import decode, decode_members, encode, encode_members

__all__ = ["Inbox", "Lanes", "Tasks", "is_sealed"]

log = logging.getLogger(__name__)

KIND = "inbound"
SEALED = b"\x01"  # no JSON begins with it
SEALING = b"inbound record"

_ResultT = TypeVar("_ResultT")


class Tasks:
    """The tasks that the host owns: what must go on when a request's client hangs up."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self._stopped = False

    def start(self, work: Coroutine[Any, Any, _ResultT]) -> asyncio.Task[_ResultT]:
        """Run new `work` in a task; refused with `stopping` once the host stops."""
        return self._task(work, refused=self._stopping)

    def follow(self, work: Coroutine[Any, Any, _ResultT]) -> asyncio.Task[_ResultT]:
        """Run `work` that work already begun may wait for; refused only when that is over too."""
        return self._task(work, refused=self._stopped)

    async def finish(self, work: Coroutine[Any, Any, _ResultT]) -> _ResultT:
        """`follow` and wait for the result; a cancelled caller stops only the waiting."""
        return await self.result(self.follow(work))

    async def result(self, task: asyncio.Task[_ResultT]) -> _ResultT:
        """Wait for a task; refused with `stopping` if it was not let finish."""
        # Unlike awaiting the task, this leaves it running when the one who waits is cancelled.
        await asyncio.wait({task})
        if task.cancelled():
            raise SkillsHostError(code="stopping")
        return task.result()

    async def stop(self, seconds: float) -> None:
        """Take nothing new, let what runs finish for so long, then cancel it."""
        self._stopping = True
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._running:
                    await asyncio.wait(self._running)
        self._stopped = True
        for task in tuple(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=1)

    def _task(
        self, work: Coroutine[Any, Any, _ResultT], *, refused: bool
    ) -> asyncio.Task[_ResultT]:
        if refused:
            work.close()
            raise SkillsHostError(code="stopping")
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            # Whoever waited has been told; if nobody did, this is the only trace.
            log.debug("a task ended with %s", type(failure).__name__)


@dataclass(slots=True)
class _Lane:
    lock: asyncio.Lock
    users: int = 0


class Lanes:
    """Order within a session: one turn after the other, first come first served.

    A lane is order, not a lock on anything: no state copy or connection is held by it.
    """

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}

    def is_busy(self, session: str) -> bool:
        """True while a turn of the session is open."""
        return session in self._lanes

    @asynccontextmanager
    async def turn(self, session: str) -> AsyncIterator[None]:
        """Wait for the session's turns that came before."""
        lane = self._lanes.setdefault(session, _Lane(asyncio.Lock()))
        lane.users += 1
        try:
            async with lane.lock:
                yield
        finally:
            lane.users -= 1
            if not lane.users:
                del self._lanes[session]


class Inbox:
    """Takes in the activities of one bot.

    What it records of activities with a name of `sealed` (`signin/*` means all that begin so) is
    encrypted with the host's keys: they may carry credentials.
    """

    def __init__(
        self,
        adapter: Adapter,
        *,
        store: Store,
        tasks: Tasks,
        now: Callable[[], float],
        new_id: Callable[[], str],
        remember: float,
        keys: Keys,
        sealed: tuple[str, ...] = (),
    ) -> None:
        self._adapter = adapter
        self._store = store
        self._tasks = tasks
        self._now = now
        self._new_id = new_id
        self._remember = remember
        self._keys = keys
        self._sealed = sealed
        self._lanes = Lanes()
        self._open: dict[str, asyncio.Task[Answer]] = {}

    async def take(
        self, activity: Activity, identity: Identity, *, said: Said = lambda _: None
    ) -> Answer:
        """Take in a checked activity and wait for its answer.

        `said` hears replies that go into the answer as they are given; not those of a delivery
        that was taken in before. A bare end, without a conversation, has nothing to act on and is
        answered at once.
        """
        if not activity.conversation.id:
            return Answer()
        key = self._key(activity, identity)
        task = self._open.get(key)
        if task is None:
            task = self._tasks.start(self._taken(activity, identity, key, said))
            self._open[key] = task
            task.add_done_callback(lambda _: self._open.pop(key, None))
        return await self._tasks.result(task)

    def _key(self, activity: Activity, identity: Identity) -> str:
        # A consumer gives the activities it makes by itself the id of the one that caused them:
        # only type and name tell a cancelling end from the message before it.
        return joined_key(
            self._adapter.name,
            identity.app_id or activity.channel_id or "",
            activity.conversation.id or "",
            activity.type,
            activity.name or "",
            activity.id or f"new:{self._new_id()}",
        )

    async def _taken(self, activity: Activity, identity: Identity, key: str, said: Said) -> Answer:
        body = encode_members({"activity": activity.encode()})
        record = self._record(activity, key, body, expects=NEW)
        version = 1
        try:
            (version,) = await self._store.write([record])
        except VersionConflict:
            stored = (await self._store.read([(KIND, key)])).get((KIND, key))
            first = None if stored is None else _first_answer(self._read(key, stored.body))
            if first is not None:
                return first
            # Recorded, but the process that took it in is gone: take it up again.
            version = 0 if stored is None else stored.version
        if self._overtakes(activity, identity):
            return await self._turn(activity, identity, key, version, said)
        async with self._lanes.turn(self._adapter.session(activity, identity)):
            return await self._turn(activity, identity, key, version, said)

    def _overtakes(self, activity: Activity, identity: Identity) -> bool:
        """True for what does not wait for the turn before it.

        What a calling bot sends while a turn of its skill is open may be its answer to what that
        turn sends it: two that wait for each other would wait until one gives up.
        """
        if self._adapter.bot.overtakes(activity):
            return True
        may_answer = identity.kind == "skill" and activity.type in ("event", "invoke")
        return may_answer and self._lanes.is_busy(self._adapter.session(activity, identity))

    async def _turn(
        self, activity: Activity, identity: Identity, key: str, version: int, said: Said
    ) -> Answer:
        outcome = await self._adapter.process(activity, identity, key=key, said=said)
        done = self._record(activity, key, _done(outcome.answer), expects=version)
        try:
            # The answer with the state that the turn changed, in one commit.
            await self._store.write([done, *outcome.changes])
            return outcome.answer
        except VersionConflict as exc:
            log.error("state of a turn was changed meanwhile: %s", exc.code)
        conflict = StateConflict()
        answer = Answer(conflict.status, encode(error_body(conflict)))
        await self._store.write([self._record(activity, key, _done(answer), expects=ANY)])
        return answer

    def _record(self, activity: Activity, key: str, body: bytes, *, expects: int | None) -> Put:
        if is_sealed(activity.name or "", self._sealed):
            body = SEALED + self._keys.seal(SEALING, body, about=key.encode())
        return Put(KIND, key, body, expects=expects, expires=self._now() + self._remember)

    def _read(self, key: str, body: bytes) -> bytes:
        if not body.startswith(SEALED):
            return body
        try:
            return self._keys.unseal(SEALING, body[1:], about=key.encode())
        except ValueError:
            raise StoreFailed("a sealed record cannot be read: host.keys has changed") from None


def is_sealed(name: str, listed: tuple[str, ...]) -> bool:
    """True if an activity's name is on the list; `signin/*` stands for all that begin so. Pure."""
    return any(
        name.startswith(entry[:-1]) if entry.endswith("*") else name == entry for entry in listed
    )


def _done(answer: Answer) -> bytes:
    members = {"status": encode(answer.status)}
    if answer.body:
        members["body"] = answer.body
    return encode_members({"answer": encode_members(members)})


def _first_answer(record: bytes) -> Answer | None:
    answer = decode_members(record).get("answer")
    if answer is None:
        return None
    members = decode_members(answer)
    return Answer(decode(members["status"]), members.get("body", b""))
