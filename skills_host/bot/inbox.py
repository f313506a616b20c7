"""Intake: record → lane → turn in a task that the host owns → answer.

The HTTP request that brought an activity only waits. It may go away at any time: the turn goes on,
and the same activity delivered again gets the first answer without a second effect. So may the
process: what it has recorded is a lease, and whoever is alive takes it up when that is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from skills_host.activity import Activity
from skills_host.addressing import joined_key
from skills_host.auth.claims import Identity
from skills_host.bot.adapter import Adapter, Answer, Said
from skills_host.bot.lanes import Lanes, topic_of
from skills_host.bot.rates import RateLimit
from skills_host.bot.sealing import Sealing
from skills_host.bot.tasks import Tasks
from skills_host.errors import (
    SkillsHostError,
    StateConflict,
    TooBusy,
    VersionConflict,
    error_body,
)
from skills_host.settings import Limits
from skills_host.store.coordination import Coordination, woken
from skills_host.store.leases import Leases
from skills_host.store.records import NEW, Change, Check, Put, Record, Store
from skills_host.telemetry import LANES, TAKEN_UP, TURNED_AWAY, TURNS, TURNS_OPEN, Telemetry
from skills_host.wire import decode, decode_members, encode, encode_members

__all__ = ["Inbox"]

log = logging.getLogger(__name__)

ATTEMPTS = 5  # of a turn whose processes died; then it is the turn that kills them
KIND = "inbound"
AT_ONCE = 50  # turns that are taken up at once


@dataclass(frozen=True, slots=True)
class _Work:
    """A recorded activity that this process has the lease of; `place` is where it is in its lane.

    The version of `record` counts the processes that have begun it.
    """

    activity: Activity
    identity: Identity
    session: str
    record: Record
    place: int | None
    hops: tuple[str, ...]

    @property
    def fence(self) -> Check:
        """Holds as long as the lease does."""
        return Check(KIND, self.record.key, self.record.version)


class Inbox:
    """Takes in the activities of one bot; `sealing` hides those that may carry credentials."""

    def __init__(
        self,
        adapter: Adapter,
        *,
        store: Store,
        leases: Leases,
        coordination: Coordination,
        tasks: Tasks,
        now: Callable[[], float],
        new_id: Callable[[], str],
        limits: Limits,
        telemetry: Telemetry,
        sealing: Sealing,
        rate: RateLimit | None = None,
    ) -> None:
        self._adapter = adapter
        self._store = store
        self._leases = leases
        self._tasks = tasks
        self._now = now
        self._new_id = new_id
        self._limits = limits
        self._telemetry = telemetry
        self._sealing = sealing
        self._rate = rate
        self._coordination = coordination
        self._lanes = Lanes(store, most=limits.lane_turns, coordination=coordination)
        self._open: dict[str, asyncio.Task[Answer]] = {}

    async def take(
        self,
        activity: Activity,
        identity: Identity,
        *,
        hops: tuple[str, ...] = (),
        said: Said = lambda _: None,
    ) -> Answer:
        """Take in a checked activity and wait for its answer.

        `said` hears replies that go into the answer as they are given; not those of a delivery
        that was taken in before. A bare end, without a conversation, has nothing to act on and is
        answered at once. Raises `TooBusy` before anything is done.
        """
        if not activity.conversation.id:
            return Answer()
        key = self._key(activity, identity)
        if key not in self._open:
            await self._check_rate(activity, identity)
        task = self._open.get(key)
        if task is None:
            task = self._begun(self._taken(activity, identity, key, hops, said))
            self._open[key] = task
            task.add_done_callback(lambda _: self._open.pop(key, None))
        return await self._tasks.result(task)

    async def take_up(self) -> None:
        """Begin again what processes that died have left: recorded, and not answered."""
        prefix = f"{joined_key(self._adapter.name)}/"
        until = self._leases.until()
        for record in await self._store.claim(KIND, prefix, until=until, limit=AT_ONCE):
            log.warning("a turn of %s is taken up again", self._adapter.name)
            self._telemetry.count(TAKEN_UP, self._adapter.name)
            # Our own, if it could not be renewed in time: only the newest run may go on.
            self._leases.lose(record)
            try:
                # Whoever delivered it again waits for the answer in the store.
                self._tasks.start(self._taken_up(record))
            except SkillsHostError:
                # The host stops: others can have it when it has.
                self._leases.leave(record)

    async def measure(self) -> None:
        """Tell how much there is to do."""
        self._telemetry.set(TURNS_OPEN, len(self._open), self._adapter.name)
        self._telemetry.set(LANES, self._lanes.waiting, self._adapter.name)

    async def _check_rate(self, activity: Activity, identity: Identity) -> None:
        # What ends things is never held up.
        if self._rate is None or self._adapter.bot.overtakes(activity):
            return
        try:
            await self._rate.check(activity, identity)
        except TooBusy as exc:
            self._telemetry.count(TURNED_AWAY, self._adapter.name, exc.code)
            raise

    def _begun(self, taken: Coroutine[Any, Any, Answer]) -> asyncio.Task[Answer]:
        try:
            if len(self._open) >= self._limits.open_turns:
                raise TooBusy()
            return self._tasks.start(taken)
        except SkillsHostError as exc:
            taken.close()
            self._telemetry.count(TURNED_AWAY, self._adapter.name, exc.code)
            raise

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

    async def _taken(
        self,
        activity: Activity,
        identity: Identity,
        key: str,
        hops: tuple[str, ...],
        said: Said,
    ) -> Answer:
        """The answer to a new activity, or the one that it was given before."""
        session = self._adapter.session(activity, identity)
        until = self._leases.until()
        members = {"activity": activity.encode(), "identity": identity.encode()}
        if hops:
            members["hops"] = encode(hops)
        changes: list[Change] = [
            self._put(activity, key, encode_members(members), expects=NEW, due=until)
        ]
        if not self._adapter.bot.overtakes(activity):
            changes.append(self._lanes.join(session, key, expires=self._forgotten()))
        try:
            version, *places = await self._store.write(changes)
        except VersionConflict:
            return await self._given(key, session)
        record = Record(KIND, key, version, b"", due=until)
        work = _Work(activity, identity, session, record, next(iter(places), None), hops)
        return await self._worked(work, said)

    async def _taken_up(self, record: Record) -> Answer:
        members = decode_members(self._sealing.opened(record.key, record.body))
        activity = Activity.parse(members["activity"])
        identity = Identity.parse(members["identity"])
        session = self._adapter.session(activity, identity)
        place = await self._lanes.place_of(session, record.key)
        hops = tuple(decode(members.get("hops", b"[]")))
        return await self._worked(_Work(activity, identity, session, record, place, hops))

    async def _worked(self, work: _Work, said: Said = lambda _: None) -> Answer:
        """Do the work when it is next in its lane; whoever stops us leaves it to others."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        self._leases.hold(work.record, lost=task.cancel)
        began = self._now()
        try:
            if work.place is not None and not self._may_answer(work):
                await self._lanes.next(work.session, work.place)
            answer, outcome = await self._turn(work, said)
        except asyncio.CancelledError:
            self._leases.leave(work.record)
            raise
        finally:
            self._leases.drop(work.record)
            self._lanes.left(work.session)
        self._telemetry.took(TURNS, max(0.0, self._now() - began), self._adapter.name, outcome)
        return answer

    def _may_answer(self, work: _Work) -> bool:
        """True for what may be the answer to what the turn before it sends.

        What a calling bot sends while a turn of its skill is open must not wait for that turn: two
        that wait for each other would wait until one gives up.
        """
        is_told = work.activity.type in ("event", "invoke")
        return work.identity.kind == "skill" and is_told and work.place != 1

    async def _turn(self, work: _Work, said: Said) -> tuple[Answer, str]:
        """The answer, and how the turn ended."""
        outcome = await self._adapter.process(
            work.activity,
            work.identity,
            key=work.record.key,
            said=said,
            fence=work.fence,
            hops=work.hops,
            again=work.record.version > 1,
            given_up=work.record.version > ATTEMPTS,
        )
        try:
            # The answer with the state that the turn changed, in one commit.
            await self._store.write([*self._done(work, outcome.answer), *outcome.changes])
            return outcome.answer, "failed" if outcome.has_failed else "ok"
        except VersionConflict as exc:
            if (exc.kind, exc.key) == (KIND, work.record.key):
                return await self._given(work.record.key, work.session), "lost"
            log.error("state of a turn was changed meanwhile: %s", exc.code)
        conflict = StateConflict()
        answer = Answer(conflict.status, encode(error_body(conflict)))
        await self._store.write(self._done(work, answer))
        return answer, conflict.code

    async def _given(self, key: str, session: str) -> Answer:
        """The answer that an activity was given, or will be by the process that has it in work."""
        deadline = self._now() + self._limits.skill_seconds
        ended = asyncio.Event()
        stop = self._coordination.listen(topic_of(session), ended.set)
        try:
            while (stored := (await self._store.read([(KIND, key)])).get((KIND, key))) is not None:
                answer = _first_answer(self._sealing.opened(key, stored.body))
                if answer is not None:
                    return answer
                if self._now() >= deadline:
                    break
                await woken(ended, within=self._coordination.patience)
        finally:
            stop()
        raise TooBusy()

    def _done(self, work: _Work, answer: Answer) -> list[Change]:
        key, version = work.record.key, work.record.version
        done: list[Change] = [self._put(work.activity, key, _answered(answer), expects=version)]
        if work.place is not None:
            done.append(self._lanes.leave(work.session, work.place))
        return done

    def _put(
        self,
        activity: Activity,
        key: str,
        body: bytes,
        *,
        expects: int,
        due: float | None = None,
    ) -> Put:
        body = self._sealing.closed(key, body, activity.name)
        return Put(KIND, key, body, expects=expects, expires=self._forgotten(), due=due)

    def _forgotten(self) -> float:
        return self._now() + self._limits.remember_seconds


def _answered(answer: Answer) -> bytes:
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
