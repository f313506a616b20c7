"""What could not be sent to a channel yet: kept in the store, and sent later, in order.

Each conversation has one queue, which one process at a time empties, one activity after the other.
What is sent while there is something in the queue goes behind it. All of it is sealed: what bots
say may hold credentials.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import unquote

from skills_host.activity import Activity
from skills_host.addressing import joined_key
from skills_host.bot.channel import Channel, ChannelAnswer
from skills_host.bot.tasks import Tasks
from skills_host.channels.custody import Custody
from skills_host.errors import (
    ChannelFailed,
    SkillsHostError,
    StoreFailed,
    TokenUnavailable,
    TooBusy,
    TransportFailed,
    VersionConflict,
)
from skills_host.reference import ConversationReference
from skills_host.store.leases import Leases
from skills_host.store.records import Put, Record, Store
from skills_host.store.seal import Keys
from skills_host.telemetry import OUTBOX_DEAD, OUTBOX_OLDEST, OUTBOX_WAITING, Telemetry
from skills_host.wire import decode, decode_elements, decode_members, encode, encode_members

__all__ = [
    "DEAD",
    "KIND",
    "Outbox",
    "Waiting",
    "is_passing",
    "opened",
    "pause_after",
    "place_of",
    "sealed",
]

log = logging.getLogger(__name__)

AT_ONCE = 20  # queues that are emptied at once
ATTEMPTS = 5
DEAD = "dead"
KIND = "outbox"
LATER = "later:"
LONGEST_PAUSE = 30.0
MEASURED = 200  # queues that are looked through to tell how much waits
MOST = 200  # activities in a queue
SEALING = b"outbox record"


@dataclass(frozen=True, slots=True)
class Waiting:
    """An activity that is to be sent; `since` in seconds since the epoch, `why` is a code."""

    activity: Activity
    key: str
    speaker: str | None
    since: float
    tries: int = 1
    why: str = ""

    def encode(self) -> bytes:
        """The activity as it is stored."""
        texts = {
            "key": self.key,
            "speaker": self.speaker,
            "since": self.since,
            "tries": self.tries,
            "why": self.why,
        }
        members = {name: encode(value) for name, value in texts.items()}
        return encode_members(members | {"activity": self.activity.encode()})

    @classmethod
    def parse(cls, body: bytes) -> Waiting:
        """The activity from its own `encode()`."""
        members = decode_members(body)
        activity = Activity.parse(members.pop("activity"))
        return cls(activity, **{name: decode(raw) for name, raw in members.items()})


def is_passing(failure: SkillsHostError) -> bool:
    """True if it surely had no effect and may go better later. Pure.

    What may have had its effect was sent once more already, by the channel's client.
    """
    if isinstance(failure, ChannelFailed):
        return failure.answered in (429, 503)
    if isinstance(failure, TransportFailed):
        return failure.code == "unreachable" and not failure.sent
    return isinstance(failure, TokenUnavailable)


def pause_after(tries: int) -> float:
    """Seconds until it is tried again after so many times. Pure."""
    return float(min(LONGEST_PAUSE, 0.25 * 2 ** min(tries, 10)))


class Outbox:
    """What one bot has still to send; given up after `seconds`, and kept as dead for as long."""

    def __init__(
        self,
        bot: str,
        *,
        store: Store,
        keys: Keys,
        connect: Callable[[str], Channel],
        tasks: Tasks,
        leases: Leases,
        telemetry: Telemetry,
        new_id: Callable[[], str],
        now: Callable[[], float],
        seconds: float,
    ) -> None:
        self._bot = bot
        self._store = store
        self._keys = keys
        self._connect = connect
        self._tasks = tasks
        self._leases = leases
        self._telemetry = telemetry
        self._new_id = new_id
        self._now = now
        self._seconds = seconds

    def channel(self, audience: str, *, at_once: bool = False) -> Channel:
        """The channel whose tokens are for this audience, with the outbox before it.

        What is to be sent `at_once`, by whoever can try again, waits only for what waits already.
        """
        return _Outgoing(self, audience, self._connect(audience), at_once)

    async def send(
        self,
        activity: Activity,
        *,
        audience: str,
        channel: Channel,
        at_once: bool,
        key: str,
        speaker: str | None,
    ) -> str:
        """Send now if nothing waits before it; else, or if that fails for now, later.

        The channel's id, or an empty string. Raises what is for good.
        """
        place = self._place(activity, audience)
        waiting = Waiting(activity, key, speaker, self._now())
        if (KIND, place) in await self._store.read([(KIND, place)]):
            await self._put_off(place, waiting)
            return ""
        try:
            return await channel.send(activity, key=key, speaker=speaker)
        except SkillsHostError as exc:
            if at_once or not is_passing(exc):
                raise
            log.warning("something that %s said is sent later: %s", self._bot, exc.code)
            await self._put_off(place, replace(waiting, why=exc.code))
            return ""

    async def look(self) -> None:
        """Begin to empty the queues that are due."""
        until, prefix = self._leases.until(), f"{joined_key(self._bot)}/"
        for record in await self._store.claim(KIND, prefix, until=until, limit=AT_ONCE):
            try:
                self._tasks.start(self._emptied(record))
            except SkillsHostError:
                # The host stops: others can have it when it has.
                self._leases.leave(record)

    async def measure(self) -> None:
        """Tell what waits in the store, and what is dead."""
        prefix = f"{joined_key(self._bot)}/"
        queues = await self._store.scan(KIND, prefix, limit=MEASURED)
        dead = await self._store.scan(DEAD, prefix, limit=5 * MEASURED)
        waiting = [one.since for record in queues for one in opened(self._keys, record)]
        oldest = self._now() - min(waiting) if waiting else 0.0
        for gauge, value in (
            (OUTBOX_WAITING, len(waiting)),
            (OUTBOX_OLDEST, max(0.0, oldest)),
            (OUTBOX_DEAD, len(dead)),
        ):
            self._telemetry.set(gauge, value, self._bot)

    async def _put_off(self, place: str, waiting: Waiting) -> None:
        """Put something behind what waits already."""
        for _ in range(ATTEMPTS):
            record = (await self._store.read([(KIND, place)])).get((KIND, place))
            queue = [] if record is None else opened(self._keys, record)
            if len(queue) >= MOST:
                raise TooBusy()
            due = self._now() + pause_after(waiting.tries) if record is None else record.due
            expects = 0 if record is None else record.version
            try:
                body = sealed(self._keys, place, [*queue, waiting])
                owner = record.owner if record else ""
                await self._store.write(
                    [Put(KIND, place, body, expects=expects, owner=owner, due=due)]
                )
            except VersionConflict:
                continue
            return
        raise VersionConflict(KIND, place)

    async def _emptied(self, record: Record) -> None:
        """Send what waits in a queue, as far as that goes, as long as it is ours."""
        custody = Custody(
            self._store,
            record,
            token=self._new_id(),
            now=self._now,
            seconds=self._leases.seconds,
        )
        if not await custody.taken():
            return
        keeping = asyncio.create_task(custody.keep())
        try:
            channel = self._connect(_audience(record.key))
            while custody.record.body and not keeping.done() and not self._tasks.is_stopping:
                if not await self._sent_first(custody, channel):
                    return
        finally:
            keeping.cancel()
            if custody.record.body and custody.record.owner:
                # Whoever is alive goes on at once when we stop.
                self._leases.leave(custody.record)

    async def _sent_first(self, custody: Custody, channel: Channel) -> bool:
        """Send the first that waits, and record what came of it; False if the rest has to wait."""
        place = custody.record.key
        first = opened(self._keys, custody.record)[0]
        code = await self._sent(channel, first)
        if code is None:
            return await custody.rewritten(partial(self._without, place, first.key))
        again = replace(first, tries=first.tries + 1, why=code.removeprefix(LATER))
        is_old = self._now() >= first.since + self._seconds
        if is_old or not code.startswith(LATER):
            log.error("something that %s said is never sent: %s", self._bot, code)
            buried = [self._buried(place, again)]
            return await custody.rewritten(partial(self._without, place, first.key), also=buried)
        due = self._now() + pause_after(again.tries)
        await custody.rewritten(partial(self._instead, place, again), due=due)
        return False

    def _without(self, place: str, key: str, body: bytes) -> bytes:
        left = [one for one in self._opened(place, body) if one.key != key]
        return sealed(self._keys, place, left) if left else b""

    def _instead(self, place: str, again: Waiting, body: bytes) -> bytes:
        queue = self._opened(place, body)
        left = [again if one.key == again.key else one for one in queue]
        return sealed(self._keys, place, left) if left else b""

    def _opened(self, place: str, body: bytes) -> list[Waiting]:
        return opened(self._keys, Record(KIND, place, 0, body))

    async def _sent(self, channel: Channel, waiting: Waiting) -> str | None:
        """None if it was sent; else the failure's code, behind `LATER` if it may pass."""
        try:
            await channel.send(waiting.activity, key=waiting.key, speaker=waiting.speaker)
        except SkillsHostError as exc:
            return f"{LATER}{exc.code}" if is_passing(exc) else exc.code
        return None

    def _buried(self, place: str, waiting: Waiting) -> Put:
        key = f"{place}/{joined_key(waiting.key)}"
        until = self._now() + max(self._seconds, 24 * 3600.0)
        return Put(DEAD, key, sealed(self._keys, key, [waiting]), expires=until)

    def _place(self, activity: Activity, audience: str) -> str:
        conversation = activity.conversation.id or ""
        return joined_key(self._bot, audience, activity.service_url or "", conversation)


def sealed(keys: Keys, key: str, queue: Sequence[Waiting]) -> bytes:
    """What waits, as the record with this key holds it."""
    body = b"[%b]" % b",".join(waiting.encode() for waiting in queue)
    return keys.seal(SEALING, body, about=key.encode())


def opened(keys: Keys, record: Record) -> list[Waiting]:
    """What waits in a record, or the one that is dead there; `StoreFailed` with other keys."""
    try:
        body = keys.unseal(SEALING, record.body, about=record.key.encode())
    except ValueError:
        raise StoreFailed("the outbox cannot be read: host.keys has changed") from None
    return [Waiting.parse(element) for element in decode_elements(body)]


def place_of(record: Record) -> str:
    """The key of the queue that a record is, or that what is dead in it was in."""
    return "/".join(record.key.split("/")[:4])


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """A turn's channel: what cannot be sent now is sent later."""

    outbox: Outbox
    audience: str
    channel: Channel
    at_once: bool

    async def send(self, activity: Activity, *, key: str, speaker: str | None = None) -> str:
        """Send, now or later."""
        return await self.outbox.send(
            activity,
            audience=self.audience,
            channel=self.channel,
            at_once=self.at_once,
            key=key,
            speaker=speaker,
        )

    async def update(self, activity: Activity, *, activity_id: str) -> str:
        """Replace something, now."""
        return await self.channel.update(activity, activity_id=activity_id)

    async def delete(self, reference: ConversationReference, *, activity_id: str) -> None:
        """Take something back, now."""
        await self.channel.delete(reference, activity_id=activity_id)

    async def ask(
        self,
        method: str,
        service_url: str,
        *path: str,
        query: str = "",
        body: bytes | None = None,
    ) -> ChannelAnswer:
        """Ask, now."""
        return await self.channel.ask(method, service_url, *path, query=query, body=body)


def _audience(place: str) -> str:
    return unquote(place.split("/")[1])
