"""The channel and its users: posts what they say, receives what the root posts back.

A closed loop: each user says the next thing when the reply to the last one has arrived and its
POST has been answered. The channel checks no token and keeps no transcript: it is not measured.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from aiohttp import web

from skills_host import wire
from skills_host.errors import TransportFailed
from skills_host.transport import Client, Request

__all__ = ["Channel", "Peer", "Sample"]

TURN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Peer:
    """A root as the channel sees it: where it listens and who it is."""

    name: str
    messages_url: str
    bot_id: str
    opening: tuple[str, ...] = ()
    """What a user says first, so that what follows goes to the skill."""
    token: str = field(default="", repr=False)


@dataclass(slots=True)
class Sample:
    """What one run saw: seconds measured, each turn's seconds, activities that arrived."""

    seconds: float = 0.0
    turns: list[float] = field(default_factory=list)
    arrived: int = 0


@dataclass(slots=True)
class _Waiting:
    text: str
    arrival: asyncio.Future[float]


class Channel:
    """A channel on a loopback port of its own; an async context manager."""

    def __init__(self, *, port: int) -> None:
        self.service_url = f"http://127.0.0.1:{port}/"
        self._port = port
        self._client = Client()
        self._runner = web.ServerRunner(web.Server(self._receive, access_log=None))
        self._waiting: dict[str, _Waiting] = {}
        self._numbers = itertools.count(1)
        self._arrived = 0

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
        await self._runner.cleanup()

    async def load(
        self,
        peer: Peer,
        *,
        users: int,
        seconds: float,
        warm_up: float,
        at_edges: Callable[[], None],
    ) -> Sample:
        """Let `users` talk at once; `at_edges` is called as the measured time begins and ends.

        Raises `RuntimeError` for the first turn that fails.
        """
        try:
            return await self._load(peer, users, seconds, warm_up, at_edges)
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _load(
        self, peer: Peer, users: int, seconds: float, warm_up: float, at_edges: Callable[[], None]
    ) -> Sample:
        sample = Sample()
        over, opened = asyncio.Event(), asyncio.Barrier(users + 1)
        async with asyncio.TaskGroup() as talking:
            for _ in range(users):
                talking.create_task(self._talk(peer, sample, opened, over))
            await opened.wait()
            await asyncio.sleep(warm_up)
            at_edges()
            began, arrived = time.perf_counter(), self._arrived
            sample.turns.clear()
            await asyncio.sleep(seconds)
            at_edges()
            sample.seconds = time.perf_counter() - began
            sample.arrived = self._arrived - arrived
            turns = tuple(sample.turns)
            over.set()
        sample.turns = list(turns)
        return sample

    async def paced(self, peer: Peer, *, users: int, rate: float, seconds: float) -> Sample:
        """Let `users` begin `rate` turns a second between them for so many `seconds`.

        A user who is still waiting for an answer begins the next turn late. Raises as `load`.
        """
        sample, pause = Sample(seconds=seconds), users / rate
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.TaskGroup() as talking:
                for number in range(users):
                    first = began + pause * number / users
                    talking.create_task(
                        self._talk_slowly(peer, sample, first, pause, began + seconds)
                    )
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return sample

    async def _talk_slowly(
        self, peer: Peer, sample: Sample, at: float, pause: float, until: float
    ) -> None:
        loop = asyncio.get_running_loop()
        conversation = f"c{next(self._numbers)}"
        # All beginning at once would be a load of its own.
        await asyncio.sleep(at - loop.time())
        for text in peer.opening:
            await self._turn(peer, conversation, text, expected="")
        while at < until:
            await asyncio.sleep(max(0.0, at - loop.time()))
            text = f"say number{next(self._numbers)}x"
            sample.turns.append(await self._turn(peer, conversation, text, expected=text))
            at += pause

    async def _talk(
        self, peer: Peer, sample: Sample, opened: asyncio.Barrier, over: asyncio.Event
    ) -> None:
        conversation = f"c{next(self._numbers)}"
        for text in peer.opening:
            await self._turn(peer, conversation, text, expected="")
        await opened.wait()
        while not over.is_set():
            # No number of its own: some SDKs take such words for a date.
            text = f"say number{next(self._numbers)}x"
            sample.turns.append(await self._turn(peer, conversation, text, expected=text))

    async def _turn(self, peer: Peer, conversation: str, text: str, *, expected: str) -> float:
        """Say `text`; the seconds until a message with `expected` in it has come back."""
        waiting = _Waiting(expected, asyncio.get_running_loop().create_future())
        self._waiting[conversation] = waiting
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if peer.token:
            headers["Authorization"] = f"Bearer {peer.token}"
        body = wire.encode(self._activity(peer, conversation, text))
        began = time.perf_counter()
        try:
            async with asyncio.timeout(TURN_SECONDS):
                answer = await self._client(Request("POST", peer.messages_url, headers, body))
                if answer.ok:
                    return await waiting.arrival - began
        except (TransportFailed, TimeoutError) as exc:
            raise RuntimeError(f"{peer.name}: {type(exc).__name__} after {text!r}") from exc
        raise RuntimeError(f"{peer.name} answered {answer.status}: {answer.body[:300]!r}")

    async def _receive(self, request: web.BaseRequest) -> web.Response:
        arrival = time.perf_counter()
        activity = wire.decode(await request.read())
        self._arrived += 1
        waiting = self._waiting.get(request.path.split("/")[3])
        if waiting and activity["type"] == "message" and waiting.text in activity["text"]:
            if not waiting.arrival.done():
                waiting.arrival.set_result(arrival)
        identity = wire.encode({"id": f"a{next(self._numbers)}"})
        return web.Response(body=identity, content_type="application/json")

    def _activity(self, peer: Peer, conversation: str, text: str) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return {
            "type": "message",
            "id": f"a{next(self._numbers)}",
            "timestamp": now,
            "localTimestamp": now,
            "localTimezone": "Europe/Berlin",
            "serviceUrl": self.service_url,
            # Where the SDKs behave alike: they know what is special about some channels.
            "channelId": "slack",
            "from": {"id": f"user-{conversation}", "name": "A user", "role": "user"},
            "conversation": {"id": conversation},
            "recipient": {"id": peer.bot_id, "name": "root", "role": "bot"},
            "textFormat": "plain",
            "locale": "en-US",
            "text": text,
            "entities": [
                {"type": "ClientCapabilities", "requiresBotState": True, "supportsListening": True}
            ],
            "channelData": {"clientActivityID": conversation, "clientTimestamp": now},
        }
