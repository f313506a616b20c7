"""Connections: what peers send is read in one way only, bounded, and answered in one piece.

Everything here holds for both servers: the one with the parser in C, and hypercorn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from quart import Quart, Response, request, websocket

from skills_host.web.server import Listeners, listening, serve_asgi

HEAD_BYTES = 4096
ROUNDS = 50


@dataclass
class World:
    """A server and its application, which keeps what it has read."""

    port: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    read: list[bytes] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    serving: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Peer]:
        """A client's connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            async with asyncio.timeout(10):
                yield Peer(reader, writer)
        finally:
            writer.transport.abort()

    async def answer_to(self, sent: bytes) -> bytes:
        """All that is answered until the server closes."""
        async with self.connected() as peer:
            peer.writer.write(sent)
            return await peer.rest()


@dataclass
class Peer:
    """A client."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def rest(self) -> bytes:
        """All that comes until the server closes, orderly or not."""
        said = bytearray()
        try:
            while piece := await self.reader.read(65536):
                said += piece
        except ConnectionError:
            pass
        return bytes(said)

    async def answer(self) -> bytes:
        """The next answer, which has a length."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        (length,) = (line.split(b":")[1] for line in lines if line.startswith(b"content-length"))
        return head + await self.reader.readexactly(int(length))


def application(world: World) -> Quart:
    """An application that echoes, and misbehaves where it is asked to."""
    app = Quart("connections")
    app.config["BODY_TIMEOUT"] = 0.2

    @app.get("/")
    async def greet() -> Response:
        return Response(b"the body")

    @app.post("/echo")
    async def echo() -> Response:
        body = await request.get_data(False, False, False)
        world.read.append(body)
        return Response(body)

    @app.post("/unread")
    async def unread() -> Response:
        return Response(b"no", 401)

    @app.get("/held")
    async def held() -> Response:
        world.arrived.set()
        try:
            await world.go.wait()
        except asyncio.CancelledError:
            world.gone.set()
            raise
        return Response(b"at last")

    @app.get("/streamed")
    async def streamed() -> Response:
        breaks = "breaks" in request.args

        async def pieces() -> AsyncIterator[bytes]:
            yield b"one"
            yield b"two"
            if breaks:
                raise RuntimeError("in the middle")

        return Response(pieces())

    @app.websocket("/socket")
    async def socket() -> None:
        await websocket.send("heard " + str(await websocket.receive()))

    return app


@pytest.fixture(params=["quick", "hypercorn"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A server that closes what is idle for a quarter of a second."""
    world = World()
    with listening("127.0.0.1:0") as listener:
        world.port = listener.getsockname()[1]
        config = Listeners([listener])
        config.h11_max_incomplete_size = HEAD_BYTES
        config.keep_alive_timeout = 0.25
        config.graceful_timeout = 5.0
        world.serving = asyncio.create_task(
            serve_asgi(
                application(world),
                config,
                shutdown=world.stop.wait,
                quick=request.param == "quick",
            )
        )
        yield world
        world.go.set()
        world.stop.set()
        await world.serving


GREETING = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def posted(body: bytes, *headers: bytes, path: bytes = b"/echo") -> bytes:
    """A POST with these header lines."""
    return b"\r\n".join([b"POST %b HTTP/1.1" % path, b"Host: localhost", *headers, b"", body])


def echoed(body: bytes) -> bytes:
    """A POST of this body."""
    return posted(body, b"Content-Length: %d" % len(body))


async def test_head_and_body_arrive_together(world: World) -> None:
    """The first read of a client has the whole answer, every time, on one connection."""
    async with world.connected() as peer:
        for _ in range(ROUNDS):
            peer.writer.write(GREETING)

            first = await peer.reader.read(65536)

            assert first.startswith(b"HTTP/1.1 200")
            assert first.endswith(b"the body")


async def test_requests_in_a_row_are_answered_in_order(world: World) -> None:
    """Whoever does not wait for an answer gets them all, each its own."""
    bodies = [b"%d" % number for number in range(20)]
    async with world.connected() as peer:
        peer.writer.write(b"".join(map(echoed, bodies)))
        answers = [await peer.answer() for _ in bodies]

    assert world.read == bodies
    assert [answer.rpartition(b"\r\n\r\n")[2] for answer in answers] == bodies


async def test_request_in_small_pieces_is_one(world: World) -> None:
    """Where the network cuts is nobody's business."""
    async with world.connected() as peer:
        for byte in echoed(b"in pieces"):
            peer.writer.write(bytes([byte]))
            await peer.writer.drain()
            await asyncio.sleep(0)

        assert (await peer.answer()).endswith(b"in pieces")


async def test_large_body_arrives_whole(world: World) -> None:
    """More than is buffered at once."""
    body = b"x" * 3_000_000
    async with world.connected() as peer:
        peer.writer.write(echoed(body))
        answer = await peer.answer()

    assert answer.endswith(body)


async def test_body_in_chunks_arrives_whole(world: World) -> None:
    """Also with extensions, and with one byte at a time."""
    chunks = b"".join(b"1;x=y\r\n%b\r\n" % bytes([byte]) for byte in b"chunked")
    async with world.connected() as peer:
        peer.writer.write(posted(chunks + b"0\r\n\r\n", b"Transfer-Encoding: chunked"))

        assert (await peer.answer()).endswith(b"\r\n\r\nchunked")


async def test_client_that_waits_is_told_to_go_on(world: World) -> None:
    """`Expect: 100-continue`."""
    headers = (b"Content-Length: 5", b"Expect: 100-continue")
    async with world.connected() as peer:
        peer.writer.write(posted(b"", *headers))
        told = await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.write(b"hello")

        assert told.startswith(b"HTTP/1.1 100")
        assert (await peer.answer()).endswith(b"hello")


async def test_answer_before_the_body_is_there_can_be_read(world: World) -> None:
    """A refusal does not wait for what it refuses, and is not lost; nothing follows it."""
    async with world.connected() as peer:
        peer.writer.write(posted(b"x" * 1000, b"Content-Length: 2000", path=b"/unread"))
        said = await peer.rest()

    assert said.startswith(b"HTTP/1.1 401")
    assert said.endswith(b"no")


async def test_slow_body_is_refused(world: World) -> None:
    """A body that never ends is not waited for."""
    said = await world.answer_to(posted(b"x", b"Content-Length: 2"))

    assert said.startswith(b"HTTP/1.1 408")
    assert world.read == []


async def test_slow_head_is_not_waited_for(world: World) -> None:
    """A connection on which no request begins is closed after a while."""
    assert await world.answer_to(b"GET / HTTP/1.1\r\nHost: loc") == b""


async def test_idle_connection_is_closed(world: World) -> None:
    """After an answer too."""
    async with world.connected() as peer:
        peer.writer.write(GREETING)

        assert (await peer.rest()).endswith(b"the body")


async def test_long_head_is_refused(world: World) -> None:
    """Whole, or without an end."""
    line = b"X: " + b"x" * HEAD_BYTES
    async with world.connected() as peer:
        peer.writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + line)
        await asyncio.sleep(0)
        peer.writer.write(line)
        said = await peer.rest()

    assert said.startswith(b"HTTP/1.1 431")


async def test_whole_head_that_is_too_long_is_refused(world: World) -> None:
    """It comes in pieces, as long ones do."""
    lines = b"".join(b"X-%d: %b\r\n" % (n, b"x" * 500) for n in range(20))
    async with world.connected() as peer:
        for piece in (b"GET / HTTP/1.1\r\nHost: localhost\r\n", lines, b"\r\n"):
            peer.writer.write(piece)
            await asyncio.sleep(0.01)
        said = await peer.rest()

    assert said.startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\x00Y: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        posted(b"hello", b"Content-Length: 5", b"Content-Length: 6"),
        posted(b"hello", b"Content-Length: 5, 6"),
        posted(b"hello", b"Content-Length: +5"),
        posted(b"hello", b"Content-Length: -5"),
        posted(b"hello", b"Content-Length: 5", b" 6"),
        posted(b"5\r\nhello\r\n0\r\n\r\n", b"Transfer-Encoding: gzip"),
        posted(b"5\r\nhello\r\n0\r\n\r\n", b"Transfer-Encoding: chunked, identity"),
        posted(b"5\r\nhello\r\n0\r\n\r\n", b"Transfer-Encoding: xchunked"),
        posted(b"0x5\r\nhello\r\n0\r\n\r\n", b"Transfer-Encoding: chunked"),
        posted(b"-5\r\nhello\r\n0\r\n\r\n", b"Transfer-Encoding: chunked"),
        posted(b"5\r\nhelloX0\r\n\r\n", b"Transfer-Encoding: chunked"),
    ],
)
async def test_what_can_be_read_in_two_ways_is_refused(world: World, sent: bytes) -> None:
    """Nothing behind it is read either: it may be a request for one, and a body for another."""
    said = await world.answer_to(sent + GREETING)

    assert b"the body" not in said
    assert b"HTTP/1.1 200" not in said
    assert world.read == []


async def test_length_beside_chunks_does_not_hide_a_request(world: World) -> None:
    """Whoever reads the length sees one body; whoever reads the chunks, a request behind it."""
    hidden = posted(
        b"0\r\n\r\n" + GREETING,
        b"Content-Length: %d" % (5 + len(GREETING)),
        b"Transfer-Encoding: chunked",
    )
    said = await world.answer_to(hidden)

    assert said.count(b"HTTP/1.1 200") == said.count(b"the body") + len(world.read)
    if b"HTTP/1.1 400" in said:
        assert b"the body" not in said


async def test_connection_is_closed_where_the_client_wants_so(world: World) -> None:
    """And an old client wants so unless it says otherwise."""
    closing = GREETING.replace(b"Host", b"Connection: close\r\nHost")
    old = GREETING.replace(b"HTTP/1.1", b"HTTP/1.0")

    for sent in (closing, old):
        said = await world.answer_to(sent)
        assert said.endswith(b"the body")
        assert b"connection: close" in said.lower()


async def test_answer_to_head_has_no_body(world: World) -> None:
    """But its length."""
    async with world.connected() as peer:
        peer.writer.write(GREETING.replace(b"GET", b"HEAD"))
        head = await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.write(GREETING)

        assert b"content-length: 8" in head.lower()
        assert (await peer.answer()).endswith(b"the body")


async def test_stream_comes_in_chunks(world: World) -> None:
    """And the connection can be used again."""
    async with world.connected() as peer:
        peer.writer.write(GREETING.replace(b"/ ", b"/streamed "))
        said = await peer.reader.readuntil(b"\r\n0\r\n\r\n")
        peer.writer.write(GREETING)

        assert b"3\r\none\r\n" in said
        assert b"3\r\ntwo\r\n" in said
        assert (await peer.answer()).endswith(b"the body")


async def test_stream_that_breaks_off_does_not_end_well(world: World) -> None:
    """A client can tell it from one that is complete."""
    said = await world.answer_to(GREETING.replace(b"/ ", b"/streamed?breaks=1 "))

    assert b"two" in said
    assert not said.endswith(b"0\r\n\r\n")


async def test_client_that_hangs_up_is_noticed(world: World) -> None:
    """Whoever works for it may stop."""
    async with world.connected() as peer:
        peer.writer.write(GREETING.replace(b"/ ", b"/held "))
        await world.arrived.wait()
    async with asyncio.timeout(10):
        await world.gone.wait()


async def test_stop_finishes_what_is_being_answered(world: World) -> None:
    """And closes what waits for a request."""
    async with world.connected() as idle, world.connected() as busy:
        idle.writer.write(GREETING)
        await idle.answer()
        busy.writer.write(GREETING.replace(b"/ ", b"/held "))
        await world.arrived.wait()

        world.stop.set()
        assert await idle.rest() == b""
        world.go.set()
        assert (await busy.rest()).endswith(b"at last")


async def test_other_protocols_are_spoken(world: World) -> None:
    """A WebSocket."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{world.port}/socket") as opened,
    ):
        await opened.send_str("hello")

        assert (await opened.receive(10)).data == "heard hello"
