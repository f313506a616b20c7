"""What processes tell each other beside the store: that something may have happened, who fails,
and how much a caller has had.

It is never needed for what is right: who is not told looks in the store by itself, only later.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

__all__ = ["DUE", "POLL", "Bucket", "Coordination", "Listeners", "LocalCoordination", "woken"]

DUE = "due"
"""The topic of whatever can be claimed now."""

BUCKETS = 10_000  # that a process keeps
POLL = 0.25  # seconds after which is looked again where nobody would tell

Heard = Callable[[], object]
"""Called when something may have happened; it must be quick."""

Step = Callable[[bytes], bytes]
"""What comes of a shared value; nothing is empty. It may be asked several times for one change."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Tokens that a caller has left, of `burst`, at a moment in seconds since the epoch."""

    level: float
    at: float

    def taken(self, *, burst: int, seconds: float, now: float) -> tuple[Bucket, float]:
        """After one more was asked for: what is left, and the seconds to wait if there is none.

        An empty one is full again after `seconds`. Clocks that differ give nothing twice.
        """
        level = min(float(burst), self.level + max(0.0, now - self.at) * burst / seconds)
        if level < 1:
            return self, (1 - level) * seconds / burst
        return Bucket(level - 1, max(self.at, now)), 0.0


class Coordination(Protocol):
    """Wakes those who wait, here and in other processes; the one who builds it opens and closes it.

    Nothing of it raises where the others cannot be reached, but `probe`.
    """

    @property
    def patience(self) -> float:
        """Seconds after which who waits has to look by itself, as things are now."""
        ...

    async def open(self) -> None:
        """Begin to tell and to listen; that nobody else can be reached is no error."""
        ...

    async def close(self) -> None:
        """Tell what is still to be told, and let go."""
        ...

    async def probe(self) -> None:
        """Raise `SkillsHostError` (`coordination-away`) while others are not reached."""
        ...

    def wake(self, topic: str) -> None:
        """Tell all who listen to a topic; whoever is not reached finds out by itself."""
        ...

    def listen(self, topic: str, heard: Heard) -> Callable[[], None]:
        """Call `heard` whenever something may have happened, until the result is called.

        It may be called for nothing. What happened before `listen` is to be looked for after it.
        """
        ...

    async def change(self, key: str, step: Step, *, seconds: float) -> bytes:
        """Change what all have under a key, by a step that nobody else's comes between.

        The new value; it may be forgotten after so many seconds without a change. Where others are
        not reached, it is this process's own.
        """
        ...

    async def take(self, bucket: str, *, burst: int, seconds: float, now: float) -> float:
        """Take one of the tokens of a bucket that all share; else the seconds until there is one.

        It holds `burst`, and is filled in `seconds`. Where others are not reached, it is this
        process's own.
        """
        ...


class Listeners:
    """Who listens to which topic in this process."""

    def __init__(self) -> None:
        self._of: dict[str, list[Heard]] = {}

    def add(self, topic: str, heard: Heard) -> Callable[[], None]:
        """Add a listener; the result removes it."""
        self._of.setdefault(topic, []).append(heard)

        def stop() -> None:
            listeners = self._of[topic]
            listeners.remove(heard)
            if not listeners:
                del self._of[topic]

        return stop

    def tell(self, topic: str) -> None:
        """Call those who listen to a topic."""
        for heard in tuple(self._of.get(topic, ())):
            heard()

    def tell_all(self) -> None:
        """Call everybody."""
        for topic in self.topics():
            self.tell(topic)

    def has(self, topic: str) -> bool:
        """True if anybody listens to a topic."""
        return topic in self._of

    def topics(self) -> tuple[str, ...]:
        """What anybody listens to."""
        return tuple(self._of)


class LocalCoordination:
    """Wakes those of this process; what others do is found by looking again and again."""

    patience = POLL

    def __init__(self) -> None:
        self._listeners = Listeners()
        self._values: dict[str, bytes] = {}
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    async def open(self) -> None:
        """Nothing."""

    async def close(self) -> None:
        """Nothing."""

    async def probe(self) -> None:
        """Nothing: nobody else is to be reached."""

    def wake(self, topic: str) -> None:
        """Call those who listen."""
        self._listeners.tell(topic)

    def listen(self, topic: str, heard: Heard) -> Callable[[], None]:
        """Listen to a topic."""
        return self._listeners.add(topic, heard)

    async def change(self, key: str, step: Step, *, seconds: float) -> bytes:
        """Change a value of this process; it is kept until it is empty."""
        value = self._values[key] = step(self._values.get(key, b""))
        if not value:
            del self._values[key]
        return value

    async def take(self, bucket: str, *, burst: int, seconds: float, now: float) -> float:
        """Take from a bucket of this process; of too many, the one that rests longest is gone."""
        held = self._buckets.get(bucket) or Bucket(burst, now)
        self._buckets[bucket], wait = held.taken(burst=burst, seconds=seconds, now=now)
        self._buckets.move_to_end(bucket)
        if len(self._buckets) > BUCKETS:
            self._buckets.popitem(last=False)
        return wait


async def woken(event: asyncio.Event, *, within: float) -> None:
    """Wait until the event is set, at most so many seconds; it is clear again after that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            await event.wait()
    event.clear()
