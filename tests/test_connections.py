"""Connections on the parser in C: what is theirs alone; the rest is in `test_transport.py`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skills_host.connections import AROUND, Connections
from skills_host.errors import TransportFailed
from skills_host.lab.tls import create_tls, write_bundle
from tests.few_words import OK, Peer, Starter, closing, listening, silent, wire


@pytest.fixture
async def start() -> AsyncIterator[Starter]:
    """Starts peers; they stop with the test."""
    async with listening() as started:
        yield started


@pytest.fixture
async def connections() -> AsyncIterator[Connections]:
    """Connections that are idle for a fifth of a second at most, for 100,000 bytes."""
    made = Connections(most=8, idle=0.2, connect=5.0, answer_bytes=100_000)
    yield made
    made.close()


async def asked(connections: Connections, url: str, method: str = "POST") -> bytes:
    """The body of an answer."""
    return (await connections.exchange(method, url, {}, b"{}", seconds=5))[2]


async def failure(connections: Connections, url: str, method: str = "POST") -> TransportFailed:
    """What a request fails with."""
    with pytest.raises(TransportFailed) as caught:
        await asked(connections, url, method)
    return caught.value


# What goes out


@pytest.mark.parametrize(
    "headers", [{"X-A": "1\r\nX-B: 2"}, {"X-A: 1\nX-B": "2"}, {"X-A": "\x00"}, {"X-A": "\ud800"}]
)
async def test_a_header_that_is_none_is_not_sent(
    start: Starter, connections: Connections, headers: dict[str, str]
) -> None:
    peer = await start()

    with pytest.raises(TransportFailed) as caught:
        await connections.exchange("POST", peer.url(), headers, b"{}", seconds=5)

    assert (caught.value.sent, peer.connections) == (False, 0)


async def test_no_compressed_answer_is_asked_for(start: Starter, connections: Connections) -> None:
    """Nobody here could read it."""
    peer = await start()

    await asked(connections, peer.url())

    assert b"\r\nAccept-Encoding: identity\r\n" in peer.requests[0]
    assert peer.requests[0].lower().count(b"\r\nhost: 127.0.0.1:%d\r\n" % peer.port) == 1


async def test_a_post_without_a_body_says_so(start: Starter, connections: Connections) -> None:
    peer = await start()

    await connections.exchange("POST", peer.url(), {}, None, seconds=5)

    assert b"\r\nContent-Length: 0\r\n" in peer.requests[0]


# What comes back


async def test_an_interim_answer_is_not_the_answer(
    start: Starter, connections: Connections
) -> None:
    peer = await start(wire(b"HTTP/1.1 103 Early Hints\r\nX-A: 1\r\n\r\n" + OK))

    status, headers, body = await connections.exchange("POST", peer.url(), {}, b"{}", seconds=5)

    assert (status, "x-a" in headers, body) == (200, False, b"ok")


async def test_an_answer_may_come_in_pieces(start: Starter, connections: Connections) -> None:
    async def slowly(_: Peer, writer: asyncio.StreamWriter) -> None:
        for byte in OK.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked")[:-2]:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"2\r\nok\r\n0\r\n\r\n")

    peer = await start(slowly)

    assert [await asked(connections, peer.url()) for _ in range(2)] == [b"ok", b"ok"]
    assert peer.connections == 1


async def test_an_answer_without_a_length_ends_with_its_connection(
    start: Starter, connections: Connections
) -> None:
    peer = await start(closing(b"HTTP/1.1 200 OK\r\n\r\nok"))

    assert [await asked(connections, peer.url()) for _ in range(2)] == [b"ok", b"ok"]
    assert peer.connections == 2


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * AROUND,
        b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * AROUND * 4,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"a" * AROUND * 4,
    ],
    ids=["headers", "a header", "around the body"],
)
async def test_what_is_around_a_body_has_a_limit(
    start: Starter, connections: Connections, data: bytes
) -> None:
    peer = await start(wire(data))

    assert (await failure(connections, peer.url())).code == "answer-too-large"


async def test_another_protocol_is_not_spoken(start: Starter, connections: Connections) -> None:
    switch = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
    peer = await start(wire(switch))

    assert (await failure(connections, peer.url())).code == "unreachable"


# Which connection is used again


@pytest.mark.parametrize("rest", [OK, OK[:20], OK[:1], OK[:-2]])
async def test_a_second_answer_is_nobodys(
    start: Starter, connections: Connections, rest: bytes
) -> None:
    """Else it would be taken for the answer to the next request."""
    peer = await start(wire(OK + rest.replace(b"200", b"500")))

    for _ in range(2):
        assert (await connections.exchange("POST", peer.url(), {}, b"{}", seconds=5))[0] == 200
    assert peer.connections == 2


async def test_words_that_nobody_asked_for_end_a_connection(
    start: Starter, connections: Connections
) -> None:
    async def twice(_: Peer, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(OK.replace(b"200", b"500"))

    peer = await start(twice)
    await asked(connections, peer.url())
    await asyncio.wait_for(peer.left.wait(), 5)

    assert await asked(connections, peer.url()) == b"ok"
    assert peer.connections == 2


async def test_a_connection_that_the_peer_closes_is_not_used_again(
    start: Starter, connections: Connections
) -> None:
    peer = await start(wire(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))

    for _ in range(2):
        await asked(connections, peer.url())
    assert peer.connections == 2


async def test_an_idle_connection_is_closed(start: Starter, connections: Connections) -> None:
    peer = await start()
    await asked(connections, peer.url())

    await asyncio.wait_for(peer.left.wait(), 5)

    await asked(connections, peer.url())
    assert peer.connections == 2


async def test_a_get_is_sent_again_where_the_peer_had_hung_up(
    start: Starter, connections: Connections
) -> None:
    peer = await start()
    await asked(connections, peer.url(), "GET")
    before, peer.answer = peer.answer, closing(b"")

    async def once_more(_: Peer, writer: asyncio.StreamWriter) -> None:
        peer.answer = before
        writer.close()

    peer.answer = once_more

    assert await asked(connections, peer.url(), "GET") == b"ok"
    assert (len(peer.requests), peer.connections) == (3, 2)


async def test_a_get_on_a_new_connection_is_sent_once(
    start: Starter, connections: Connections
) -> None:
    peer = await start(closing(b""))

    await failure(connections, peer.url(), "GET")

    assert len(peer.requests) == 1


async def test_closing_fails_what_is_open(start: Starter, connections: Connections) -> None:
    peer = await start(silent)
    request = asyncio.create_task(failure(connections, peer.url()))
    await peer.asked.wait()

    connections.close()

    assert (await request).code == "unreachable"


# Encrypted


async def test_a_peer_with_a_trusted_certificate_is_reached(
    start: Starter,
    connections: Connections,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tls = create_tls()
    bundle = write_bundle(tmp_path / "bundle.pem", ca_pem=tls.ca_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    peer = await start(tls=tls.server_context)
    url = peer.url().replace("http", "https")

    assert [await asked(connections, url) for _ in range(2)] == [b"ok", b"ok"]
    assert peer.connections == 1


async def test_a_peer_with_another_certificate_is_not_spoken_to(
    start: Starter, connections: Connections
) -> None:
    peer = await start(tls=create_tls().server_context)

    error = await failure(connections, peer.url().replace("http", "https"))

    assert (error.code, error.sent, peer.requests) == ("unreachable", False, [])
