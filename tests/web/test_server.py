"""Answers leave in one piece."""

from __future__ import annotations

import asyncio

from quart import Quart, Response

from skills_host.lab.service import address_of, listening, serve_lab

ROUNDS = 50


def greeting() -> Quart:
    """An app whose answer has a head and a body."""
    app = Quart("greeting")

    @app.get("/")
    async def greet() -> Response:
        return Response(b"the body")

    return app


async def test_head_and_body_arrive_together() -> None:
    """The first read of a client has the whole answer, every time."""
    listener = listening("127.0.0.1:0")
    host, port = address_of(listener).split(":")
    done = asyncio.Event()
    serving = asyncio.create_task(serve_lab(greeting(), http=listener, shutdown=done.wait))
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for _ in range(ROUNDS):
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")

            first = await reader.read(65536)

            assert first.startswith(b"HTTP/1.1 200")
            assert first.endswith(b"the body")
    finally:
        writer.close()
        await writer.wait_closed()
        done.set()
        await serving
