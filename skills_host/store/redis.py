"""Coordination through Redis: every process that has the same one wakes the others.

While Redis is away, everybody is told once and then looks by itself, as often as without it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any

from skills_host.errors import SettingsError, SkillsHostError
from skills_host.store.coordination import POLL, Heard, Listeners, LocalCoordination, Step, woken
from skills_host.telemetry import COORDINATION, Telemetry

try:
    from redis.asyncio import Redis
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError
    from redis.retry import Retry
except ImportError:  # the extra `redis` is not installed
    Redis = None  # type: ignore[assignment,misc]

__all__ = ["RedisCoordination", "pause_before"]

log = logging.getLogger(__name__)

ANSWER_WAIT = 1.0  # seconds that Redis has for an answer
CALM = 1.0  # seconds after which who waits looks by itself, although it would be told
ATTEMPTS = 20  # of a change that others come between
HELLO = "hello"  # a topic that nobody tells: whoever listens to nothing can be told nothing
PING = 1.0  # seconds between two questions whether Redis is there
SOUND = 10.0  # seconds after which a connection that is lost has been a good one
QUIET = 4.0  # seconds without any answer after which it is not
LONGEST_PAUSE = 5.0


# What is there becomes something else, unless somebody else's change has come between.
SWAP = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
"""

# `Bucket.taken`, for all at once. What is refused changes nothing, so that a bucket whose clock
# was wrong is forgotten.
TAKE = """
local held = redis.call('HMGET', KEYS[1], 'level', 'at')
local burst, seconds, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local at = tonumber(held[2]) or now
local level = (tonumber(held[1]) or burst) + math.max(0, now - at) * burst / seconds
level = math.min(burst, level)
if level < 1 then return string.format('%.17g', (1 - level) * seconds / burst) end
redis.call('HSET', KEYS[1], 'level', string.format('%.17g', level - 1),
    'at', string.format('%.17g', math.max(at, now)))
redis.call('PEXPIRE', KEYS[1], math.ceil(seconds * 1000))
return '0'
"""


def pause_before(trial: int) -> float:
    """Seconds before Redis is tried again, after so many trials in vain. Pure."""
    return float(min(LONGEST_PAUSE, 0.1 * 2 ** min(trial, 10)))


class RedisCoordination:
    """A `Coordination` through the Redis at `url`, among those with the same `prefix`.

    Belongs to one event loop; `name` is this process's own. The address is shown nowhere: it may
    hold a password. Raises `SettingsError` naming `coordination.url`.
    """

    def __init__(
        self, url: str, *, prefix: str, name: str, telemetry: Telemetry | None = None
    ) -> None:
        if Redis is None:
            raise SettingsError("coordination.url: needs the extra redis: skills-host[redis]")
        try:
            self._client = Redis.from_url(
                url,
                protocol=2,
                socket_timeout=ANSWER_WAIT,
                socket_connect_timeout=ANSWER_WAIT,
                retry=Retry(NoBackoff(), 0),
                client_name="skills-host",
                # Not every version of the library looks at the name in a certificate by itself.
                **({"ssl_check_hostname": True} if url.startswith("rediss:") else {}),
            )
        except ValueError:
            raise SettingsError("coordination.url: not the address of a Redis") from None
        self._swap = self._client.register_script(SWAP)
        self._take = self._client.register_script(TAKE)
        # What is shared is this process's own while Redis is away.
        self._own = LocalCoordination()
        self._prefix = prefix
        self._name = name.encode()
        self._telemetry = telemetry
        self._listeners = Listeners()
        self._online = False
        self._tried = asyncio.Event()
        self._changed = asyncio.Event()
        self._told: set[str] = set()
        self._touched: set[str] = set()
        self._topics: dict[bytes, str] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def patience(self) -> float:
        """Long while others are reached, else as without them."""
        return CALM if self._online else POLL

    async def open(self) -> None:
        """Connect; where that fails, go on trying."""
        self._task = asyncio.create_task(self._run())
        await self._tried.wait()

    async def close(self) -> None:
        """Tell what is still to be told, then disconnect."""
        if self._task is not None:
            await _ended([self._task])
        if self._online:
            with suppress(RedisError, OSError):
                await self._publish()
        self._online = False
        await self._client.aclose()

    async def probe(self) -> None:
        """Raise `SkillsHostError` (`coordination-away`) while Redis is away."""
        if not self._online:
            raise SkillsHostError(code="coordination-away")

    def wake(self, topic: str) -> None:
        """Tell those of this process at once, the others soon."""
        self._listeners.tell(topic)
        if self._online:
            self._told.add(topic)
            self._changed.set()

    def listen(self, topic: str, heard: Heard) -> Callable[[], None]:
        """Listen to a topic; `heard` is called too when Redis begins to pass it on."""
        stop = self._listeners.add(topic, heard)
        self._touch(topic)

        def stopped() -> None:
            stop()
            self._touch(topic)

        return stopped

    def _touch(self, topic: str) -> None:
        """Have Redis told soon whether anybody listens to a topic."""
        if self._online:
            self._touched.add(topic)
            self._changed.set()

    async def change(self, key: str, step: Step, *, seconds: float) -> bytes:
        """Change what all share; this process's own while Redis is away."""
        if self._online:
            with suppress(RedisError, OSError):
                value = await self._swapped(self._key("value", key), step, seconds)
                return await self._own.change(key, lambda _: value, seconds=seconds)
        return await self._own.change(key, step, seconds=seconds)

    async def take(self, bucket: str, *, burst: int, seconds: float, now: float) -> float:
        """Take from a bucket that all share; from this process's own while Redis is away."""
        if self._online:
            with suppress(RedisError, OSError):
                key = self._key("bucket", bucket)
                return float(await self._take(keys=[key], args=[burst, seconds, now]))
        return await self._own.take(bucket, burst=burst, seconds=seconds, now=now)

    async def _swapped(self, key: bytes, step: Step, seconds: float) -> bytes:
        for _ in range(ATTEMPTS):
            kept = await self._client.get(key)
            found = kept if isinstance(kept, bytes) else b""
            value = step(found)
            if value == found:
                return value
            milliseconds = max(1, round(seconds * 1000))
            if await self._swap(keys=[key], args=[found, value, milliseconds]):
                return value
        raise TimeoutError

    # The connection

    async def _run(self) -> None:
        """Stay connected; begin again, with pauses, when the connection is lost."""
        loop, trial = asyncio.get_running_loop(), 0
        while True:
            begun = loop.time()
            try:
                await self._live()
            except Exception as exc:
                # Whatever it was, it is tried again: nobody else would. What the library says may
                # name the user and the host.
                trial = 0 if loop.time() - begun > SOUND else trial + 1
                self._away(type(exc).__name__)
            self._tried.set()
            await asyncio.sleep(pause_before(trial))

    def _away(self, why: str) -> None:
        """Say once that Redis is away, and have everybody look."""
        if self._online or not self._tried.is_set():
            log.warning("Redis is away (%s): the host looks by itself meanwhile", why)
        if self._online:
            self._online = False
            self._told.clear()
            self._listeners.tell_all()
        self._note()

    def _note(self) -> None:
        if self._telemetry is not None:
            self._telemetry.set(COORDINATION, float(self._online))

    async def _live(self) -> None:
        """Pass on what is told here and elsewhere, until that fails."""
        async with self._client.pubsub() as channels:
            self._topics = {self._channel(HELLO): HELLO}
            await channels.subscribe(*self._topics)
            if await self._message(channels) is None:
                raise TimeoutError
            log.info("Redis is there")
            self._online = True
            self._note()
            self._touched = set(self._listeners.topics())
            self._changed.set()
            self._tried.set()
            both = [
                asyncio.create_task(self._hear(channels)),
                asyncio.create_task(self._tell(channels)),
            ]
            try:
                done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                await _ended(both)

    async def _hear(self, channels: Any) -> None:
        while True:
            message = await self._message(channels)
            if message is None:
                raise TimeoutError
            # Whoever began to listen may have missed what was told before Redis knew of it.
            is_new = message["type"] == "subscribe"
            if is_new or (message["type"] == "message" and message["data"] != self._name):
                self._listeners.tell(self._topics.get(message["channel"], HELLO))

    async def _message(self, channels: Any) -> Any:
        return await channels.get_message(timeout=QUIET)

    async def _tell(self, channels: Any) -> None:
        loop = asyncio.get_running_loop()
        ping = loop.time() + PING
        while True:
            await woken(self._changed, within=PING)
            await self._follow(channels)
            await self._publish()
            if loop.time() >= ping:
                ping = loop.time() + PING
                await channels.ping()

    async def _follow(self, channels: Any) -> None:
        """Have passed on what is listened to, and nothing else."""
        touched, self._touched = self._touched, set()
        new, old = [], []
        for topic in touched:
            channel = self._channel(topic)
            if self._listeners.has(topic) and channel not in self._topics:
                new.append(channel)
                self._topics[channel] = topic
            elif not self._listeners.has(topic) and channel in self._topics:
                old.append(channel)
                del self._topics[channel]
        if new:
            await channels.subscribe(*new)
        if old:
            await channels.unsubscribe(*old)

    async def _publish(self) -> None:
        told, self._told = self._told, set()
        if not told:
            return
        pipeline = self._client.pipeline(transaction=False)
        for topic in told:
            pipeline.publish(self._channel(topic), self._name)
        try:
            await pipeline.execute()
        except BaseException:
            # Once more when it closes; twice does no harm.
            self._told |= told
            raise

    def _channel(self, topic: str) -> bytes:
        return self._key("topic", topic)

    def _key(self, kind: str, text: str) -> bytes:
        # Texts name conversations and may be long; whoever watches Redis need not read them.
        digest = blake2b(text.encode(), digest_size=16).hexdigest()
        return f"{self._prefix}:{kind}:{digest}".encode()


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended."""
    # Before Python 3.12, a `wait_for` of the library that is done at that moment swallows it.
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=0.1)
    await asyncio.gather(*tasks, return_exceptions=True)
