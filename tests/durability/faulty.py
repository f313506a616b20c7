"""Peers that go wrong, over real sockets: a door before a skill, and a wire that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

from skills_host.activity import Activity
from skills_host.transport import Client, Request, Response, allow_loopback
from tests.world import SKILLS, Town

__all__ = ["Door", "Fault", "Wire", "answering", "breaking", "dripping", "silent"]


class _Served:
    """A server on a loopback port of its own, which it keeps when it is opened again."""

    def __init__(self) -> None:
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse connections from now on, and break off those that are open."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self.serve(reader, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            self._open.discard(task)
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError


Fault = Callable[["Door", Request, asyncio.StreamWriter], Awaitable[None]]
"""What a door does with a request, in the place of the skill's answer."""


class Door(_Served):
    """What the root meets on its way to a skill of a town: its own door, or a `fault`.

    Ends go through whatever the fault is, so that a skill can be told.
    """

    def __init__(self, town: Town, name: str = "echo") -> None:
        super().__init__()
        self.fault: Fault | None = None
        self._town = town
        self._base = SKILLS[name]

    @property
    def endpoint(self) -> str:
        """Where the skill is, as the root's settings say."""
        return f"http://127.0.0.1:{self.port}/api/messages"

    @contextlib.asynccontextmanager
    async def reached(self) -> AsyncIterator[Callable[[Request], Awaitable[Response]]]:
        """A `Send` for the root: the real client to this door, the town to everybody else."""
        client = Client(guard=allow_loopback, idle=0.01)

        async def send(request: Request) -> Response:
            is_here = urlsplit(request.url).port == self.port
            return await (client(request) if is_here else self._town.send(request))

        yield send
        await client.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await self._read(reader)
            is_end = Activity.parse(request.body or b"").type == "endOfConversation"
            if self.fault is None or is_end:
                await self.pass_on(request, writer)
            else:
                await self.fault(self, request, writer)
            await writer.drain()

    async def pass_on(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """Let the skill answer."""
        answer = await self._town.send(request)
        kind = answer.headers.get("content-type", "application/json")
        head = f"HTTP/1.1 {answer.status} X\r\nContent-Type: {kind}\r\n"
        writer.write(f"{head}Content-Length: {len(answer.body)}\r\n\r\n".encode() + answer.body)

    async def _read(self, reader: asyncio.StreamReader) -> Request:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        lines = (line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        headers = {name.lower(): value for name, value in lines}
        body = await reader.readexactly(int(headers.pop("content-length", "0")))
        return Request(method, self._base + path, headers, body, timeout=20)


async def silent(_: Door, request: Request, writer: asyncio.StreamWriter) -> None:
    """Take the request and say nothing."""
    await asyncio.Event().wait()


def answering(status: int, body: bytes = b"", **headers: str) -> Fault:
    """Answer with this, and do nothing."""

    async def answer(_: Door, request: Request, writer: asyncio.StreamWriter) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status} X\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)

    return answer


def breaking(head: bytes = b"", *, after: bool = False) -> Fault:
    """Write this and break off; `after` the skill has done its work, whose answer is lost."""

    async def answer(door: Door, request: Request, writer: asyncio.StreamWriter) -> None:
        if after:
            await door._town.send(request)
        writer.write(head)
        await writer.drain()
        raise ConnectionError

    return answer


async def dripping(_: Door, request: Request, writer: asyncio.StreamWriter) -> None:
    """An answer that comes a line at a time, and never to its end."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: to come\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


class Wire(_Served):
    """A wire to a server of this machine; `close` cuts it, `open` mends it."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self._to = (host, port)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(*self._to)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pumped(reader, forth))
                group.create_task(_pumped(back, writer))
        except* ConnectionError:
            pass
        finally:
            forth.close()


async def _pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    raise ConnectionError("one side has hung up")


def replies(*texts: str) -> bytes:
    """The body of an answer with these replies."""
    activities = [{"type": "message", "text": text} for text in texts]
    return json.dumps({"activities": activities}).encode()
