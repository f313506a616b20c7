"""Skills that stream, served on real sockets, and posts to them with a real client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

from skills_host import Bot, create_app
from skills_host.app import World
from skills_host.lab.service import address_of, listening, serve_lab
from skills_host.transport import Client, Request, Response, Send, allow_loopback
from tests.world import IDS, SKILLS, Town, bot_settings, settings

__all__ = ["STREAM", "HandMade", "hand_made", "served"]

STREAM = {"delivery": "stream"}
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

HandMade = Callable[[asyncio.StreamWriter], Awaitable[None]]
"""Writes the answer to a post, byte by byte."""


@asynccontextmanager
async def served(town: Town, bot: Bot) -> AsyncIterator[Send]:
    """The echo skill on a socket; the root of the town, and whoever sends with this, reach it."""
    table = bot_settings("skill", "echo", allowed_callers=[IDS["root"]])
    made = settings(SKILLS["echo"], "echo", {"bots": {"echo": table}}, town.folder)
    app = create_app(made, bots={"echo": bot}, world=World(send=town.send))
    # The framework's own bound on answers is not for streams, whose bound is the reader's.
    app.config["RESPONSE_TIMEOUT"] = 0.1
    listener, done = listening("127.0.0.1:0"), asyncio.Event()
    serving = asyncio.create_task(serve_lab(app, http=listener, shutdown=done.wait))
    async with _reached(town, f"http://{address_of(listener)}") as send:
        yield send
    done.set()
    await serving


@asynccontextmanager
async def hand_made(town: Town, answer: HandMade) -> AsyncIterator[None]:
    """In the place of the echo skill, a server that answers each post as `answer` writes."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if b"content-length" in line)
        body = await reader.readexactly(int(length.partition(b":")[2]))
        # Ends are taken; it is the answers to messages that matter.
        writer.write(EVENTS if b'"endOfConversation"' not in body else EVENTS + b"0\r\n\r\n")
        if b'"endOfConversation"' not in body:
            await answer(writer)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, _reached(town, f"http://127.0.0.1:{port}"):
        yield


@asynccontextmanager
async def _reached(town: Town, base: str) -> AsyncIterator[Send]:
    client = Client(guard=allow_loopback)

    async def send(request: Request) -> Response:
        path = urlsplit(request.url).path
        return await client(replace(request, url=base + path))

    town.send.faults[SKILLS["echo"]] = send
    try:
        yield send
    finally:
        del town.send.faults[SKILLS["echo"]]
        await client.close()
