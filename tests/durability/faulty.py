"""Skills that go wrong, over real sockets: a door before a skill does it for them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from skills_host.activity import Activity
from skills_host.transport import Client, Request, Response, allow_loopback
from tests.store.faults import Breakage
from tests.world import SKILLS, Town

__all__ = ["Door", "Fault", "answering", "breaking", "dripping", "replies", "silent", "small_disk"]


Fault = Callable[["Door", Request, asyncio.StreamWriter], Awaitable[None]]
"""What a door does with a request, in the place of the skill's answer."""


class Door:
    """What the root meets on its way to a skill of a town: its own door, or a `fault`.

    Ends go through whatever the fault is, so that a skill can be told.
    """

    def __init__(self, town: Town, name: str = "echo") -> None:
        self.port = 0
        self.fault: Fault | None = None
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
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
            await self._serve(reader, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            self._open.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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


def replies(*texts: str) -> bytes:
    """The body of an answer with these replies."""
    activities = [{"type": "message", "text": text} for text in texts]
    return json.dumps({"activities": activities}).encode()


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[tuple[Path, Breakage]]:
    """A disk of two megabytes, and how it gets full; needs the right to mount one."""
    place = folder / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small disk: {mounted.stderr.decode().strip()}")
    filler = place / "filler"

    async def fill() -> None:
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:  # noqa: ASYNC230
            while file.write(bytes(4096)):
                pass

    async def empty() -> None:
        os.remove(filler)

    try:
        yield place, Breakage("the disk is full", fill, empty)
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
