"""What could not be sent to a channel yet: kept in the store, and sent later, in order.

Each conversation has one queue, which one process at a time empties, one activity after the other.
What is sent while there is something in the queue goes behind it. All of it is sealed: what bots
say may hold credentials.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import unquote

from skills_host.activity import Activity
from skills_host.addressing import joined_key, reference_of
from skills_host.bot.channel import Channel, ChannelAnswer
from skills_host.bot.tasks import Tasks
from skills_host.channels.custody import Custody
from skills_host.channels.waiting import (
    TICKET,
    Verb,
    Waiting,
    deletion,
    folded,
    is_ticket,
    opened,
    place_of,
    sealed,
)
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
from skills_host.wire import decode, encode

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
KEPT = 24 * 3600.0  # seconds for which it is known, at least, what became of something
KIND = "outbox"
LONGEST_PAUSE = 30.0
MEASURED = 200  # queues that are looked through to tell how much waits
MOST = 200  # activities in a queue
SENT = "sent-later"  # kind of the records that say which id the channel gave to what


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

    def channel(self, audience: str, *, at_once: bool = False, later: bool = False) -> Channel:
        """The channel whose tokens are for this audience, with the outbox before it.

        What is to be sent `at_once`, by whoever can try again, waits only for what waits already;
        `later`, all of it waits for a moment.
        """
        return _Outgoing(self, audience, self._connect(audience), at_once, later)

    async def send(
        self,
        activity: Activity,
        *,
        audience: str,
        channel: Channel,
        at_once: bool,
        later: bool,
        key: str,
        speaker: str | None,
    ) -> str:
        """Send now if nothing waits before it; else, or if that fails for now, later.

        The channel's id, or an empty string; of what is sent later an id of ours, which `update`
        and `delete` know. Raises what is for good.
        """
        place = self._place(activity, audience)
        ticket = f"{TICKET}{self._new_id()}"
        waiting = Waiting(activity, key, speaker, self._now(), ticket=ticket)
        if later or (KIND, place) in await self._store.read([(KIND, place)]):
            await self._put_off(place, waiting)
            return ticket
        try:
            return await channel.send(activity, key=key, speaker=speaker)
        except SkillsHostError as exc:
            if at_once or not is_passing(exc):
                raise
            log.warning("something that %s said is sent later: %s", self._bot, exc.code)
            await self._put_off(place, replace(waiting, why=exc.code))
            return ticket

    async def update(
        self, activity: Activity, *, activity_id: str, audience: str, channel: Channel
    ) -> str:
        """Replace something: what waits, before it is sent; else at the channel, now. Its id."""
        place = self._place(activity, audience)
        known = await self._known(place, activity_id)
        if known is not None:
            updated = await channel.update(activity.with_(id=known), activity_id=known)
            return activity_id if is_ticket(activity_id) else updated
        await self._put_off(place, self._change(activity, activity_id, Verb.UPDATE))
        return activity_id

    async def delete(
        self,
        reference: ConversationReference,
        *,
        activity_id: str,
        audience: str,
        channel: Channel,
    ) -> None:
        """Take something back: what waits, before it is sent; else at the channel, now."""
        activity = deletion(reference.service_url, reference.conversation)
        place = self._place(activity, audience)
        known = await self._known(place, activity_id)
        if known is not None:
            await channel.delete(reference, activity_id=known)
            return
        await self._put_off(place, self._change(activity, activity_id, Verb.DELETE))

    def _change(self, activity: Activity, ticket: str, verb: Verb) -> Waiting:
        key = f"{ticket}#{self._new_id()}"
        return Waiting(activity, key, None, self._now(), ticket=ticket, verb=verb)

    async def _known(self, place: str, activity_id: str) -> str | None:
        """The channel's own id; None for what waits still. `ChannelFailed` if it gave none."""
        if not is_ticket(activity_id):
            return activity_id
        keys = [(KIND, place), (SENT, activity_id)]
        records = await self._store.read(keys)
        queue, sent = records.get(keys[0]), records.get(keys[1])
        if queue is not None and any(
            one.ticket == activity_id for one in opened(self._keys, queue)
        ):
            return None
        known = decode(sent.body)["id"] if sent is not None else activity_id
        if not known:
            raise ChannelFailed(
                "the channel has no id for it", code="channel-refused", answered=404
            )
        return str(known)

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
        first, keys = folded(opened(self._keys, custody.record))
        without = partial(self._without, place, keys)
        if first is None:
            return await custody.rewritten(without)
        try:
            return await custody.rewritten(without, also=await self._made(channel, first))
        except (StoreFailed, VersionConflict):
            raise
        except SkillsHostError as exc:
            failure = exc
        again = replace(first, tries=first.tries + 1, why=failure.code)
        is_old = self._now() >= first.since + self._seconds
        if is_old or not is_passing(failure):
            log.error("something that %s said is never sent: %s", self._bot, failure.code)
            return await custody.rewritten(without, also=[self._buried(place, again)])
        due = self._now() + pause_after(again.tries)
        await custody.rewritten(partial(self._instead, place, again), due=due)
        return False

    async def _made(self, channel: Channel, waiting: Waiting) -> list[Put]:
        """Send it, or change what was sent; the changes that record the channel's id."""
        activity, ticket = waiting.activity, waiting.ticket
        if waiting.verb is Verb.SEND:
            sent = await channel.send(activity, key=waiting.key, speaker=waiting.speaker)
            until = self._now() + max(self._seconds, KEPT)
            return [Put(SENT, ticket, encode({"id": sent}), expires=until)] if ticket else []
        record = (await self._store.read([(SENT, ticket)])).get((SENT, ticket))
        known = decode(record.body)["id"] if record is not None else ""
        if not known:
            log.warning("what %s wants to change was never sent", self._bot)
        elif waiting.verb is Verb.UPDATE:
            await channel.update(activity.with_(id=known), activity_id=known)
        else:
            await channel.delete(reference_of(activity), activity_id=known)
        return []

    def _without(self, place: str, keys: frozenset[str], body: bytes) -> bytes:
        left = [one for one in self._opened(place, body) if one.key not in keys]
        return sealed(self._keys, place, left) if left else b""

    def _instead(self, place: str, again: Waiting, body: bytes) -> bytes:
        queue = self._opened(place, body)
        left = [again if one.key == again.key else one for one in queue]
        return sealed(self._keys, place, left) if left else b""

    def _opened(self, place: str, body: bytes) -> list[Waiting]:
        return opened(self._keys, Record(KIND, place, 0, body))

    def _buried(self, place: str, waiting: Waiting) -> Put:
        key = f"{place}/{joined_key(waiting.key)}"
        until = self._now() + max(self._seconds, KEPT)
        return Put(DEAD, key, sealed(self._keys, key, [waiting]), expires=until)

    def _place(self, activity: Activity, audience: str) -> str:
        conversation = activity.conversation.id or ""
        return joined_key(self._bot, audience, activity.service_url or "", conversation)


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """A turn's channel: what cannot be sent now is sent later."""

    outbox: Outbox
    audience: str
    channel: Channel
    at_once: bool
    later: bool

    async def send(self, activity: Activity, *, key: str, speaker: str | None = None) -> str:
        """Send, now or later."""
        return await self.outbox.send(
            activity,
            audience=self.audience,
            channel=self.channel,
            at_once=self.at_once,
            later=self.later,
            key=key,
            speaker=speaker,
        )

    async def update(self, activity: Activity, *, activity_id: str) -> str:
        """Replace something that was sent, or waits."""
        return await self.outbox.update(
            activity, activity_id=activity_id, audience=self.audience, channel=self.channel
        )

    async def delete(self, reference: ConversationReference, *, activity_id: str) -> None:
        """Take something back that was sent, or waits."""
        await self.outbox.delete(
            reference, activity_id=activity_id, audience=self.audience, channel=self.channel
        )

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
