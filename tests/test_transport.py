"""The HTTP client against a real server on a loopback socket, and the guards over addresses."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from skills_host.errors import TransportFailed
from skills_host.transport import (
    Client,
    Request,
    Response,
    allow_https_or_loopback,
    allow_loopback,
    is_loopback,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Peer:
    """A server of few words: `answer` writes to the wire whatever a test wants to see."""

    answer: Callable[[Peer, asyncio.StreamWriter], Awaitable[None]]
    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str = "/") -> str:
        """An address on this server."""
        return f"http://127.0.0.1:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: requests, one after the other, until the client leaves."""
        self.connections += 1
        try:
            while True:
                await self._read(reader)
                self.asked.set()
                await self.answer(self, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head)
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                self.requests[-1] += await reader.readexactly(int(line.split(b":")[1]))


async def plain(_: Peer, writer: asyncio.StreamWriter) -> None:
    """A small answer."""
    writer.write(OK)


async def silent(_: Peer, writer: asyncio.StreamWriter) -> None:
    """No answer; the next read sees the client leave."""


def wire(data: bytes) -> Callable[[Peer, asyncio.StreamWriter], Awaitable[None]]:
    """Always these bytes."""

    async def answer(_: Peer, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return answer


def closing(data: bytes) -> Callable[[Peer, asyncio.StreamWriter], Awaitable[None]]:
    """These bytes, and then the end of the connection."""

    async def answer(_: Peer, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        writer.close()

    return answer


Starter = Callable[..., Awaitable[Peer]]


@pytest.fixture
async def start() -> AsyncIterator[Starter]:
    """Starts peers; they stop with the test."""
    servers: list[asyncio.Server] = []

    async def started(answer: Callable[..., Awaitable[None]] = plain) -> Peer:
        peer = Peer(answer)
        servers.append(await asyncio.start_server(peer.serve, "127.0.0.1", 0))
        peer.port = servers[-1].sockets[0].getsockname()[1]
        return peer

    yield started
    for server in servers:
        server.close()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A client that takes answers of up to 1,000 bytes."""
    client = Client(answer_bytes=1000)
    yield client
    await client.close()


async def failure(client: Client, request: Request) -> TransportFailed:
    """What a request fails with."""
    with pytest.raises(TransportFailed) as caught:
        await client(request)
    return caught.value


# What goes out


async def test_a_request_arrives_as_it_is(start: Starter, client: Client) -> None:
    peer = await start()

    answer = await client(Request("PUT", peer.url("/a"), {"X-One": "1"}, b'{"v":1.10}'))

    assert (answer.status, answer.body, answer.ok) == (200, b"ok", True)
    assert peer.requests[0].startswith(b"PUT /a HTTP/1.1\r\n")
    assert b"\r\nX-One: 1\r\n" in peer.requests[0]
    assert peer.requests[0].endswith(b'\r\n\r\n{"v":1.10}')


@pytest.mark.parametrize(
    "path", ["/a%2Fb", "/a%2fb%20c", "/%E2%82%AC?x=%2F&y=a%20b", "/a+b", "/a//b/../c", "/~a:b@c"]
)
async def test_paths_are_not_encoded_again(start: Starter, client: Client, path: str) -> None:
    """Ids in them are opaque."""
    peer = await start()

    await client(Request("GET", peer.url(path)))

    assert peer.requests[0].startswith(f"GET {path} HTTP/1.1\r\n".encode())


async def test_a_connection_is_used_again(start: Starter, client: Client) -> None:
    peer = await start()

    for _ in range(5):
        await client(Request("POST", peer.url(), body=b"{}"))

    assert (len(peer.requests), peer.connections) == (5, 1)


async def test_connections_are_shared_by_many_at_once(start: Starter) -> None:
    """Those who have to wait for one get it."""
    peer = await start()
    client = Client(connections=2)

    answers = await asyncio.gather(*(client(Request("GET", peer.url())) for _ in range(20)))

    assert [answer.status for answer in answers] == [200] * 20
    assert peer.connections <= 2
    await client.close()


async def test_cookies_are_not_kept(start: Starter, client: Client) -> None:
    peer = await start(wire(OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\n\r\n")))

    for _ in range(2):
        # A jar would not keep those of a bare address.
        await client(Request("GET", peer.url().replace("127.0.0.1", "localhost")))

    assert b"cookie" not in peer.requests[1].lower()


async def test_the_environments_proxy_is_not_used(
    start: Starter, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer, proxy = await start(), await start()
    monkeypatch.setenv("HTTP_PROXY", proxy.url())

    await client(Request("GET", peer.url()))

    assert (peer.connections, proxy.connections) == (1, 0)


# What comes back


@pytest.mark.parametrize("status", [201, 204, 400, 401, 404, 500, 503])
async def test_any_status_is_an_answer(start: Starter, client: Client, status: int) -> None:
    peer = await start(wire(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status))

    answer = await client(Request("POST", peer.url(), body=b"{}"))

    assert (answer.status, answer.ok, answer.body) == (status, status < 300, b"")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(start: Starter, client: Client, status: int) -> None:
    """The token in the request is for nobody else."""
    other = await start()
    head = b"HTTP/1.1 %d X\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n"
    peer = await start(wire(head % (status, other.url().encode())))

    answer = await client(Request("GET", peer.url()))

    assert (answer.status, answer.headers["location"]) == (status, other.url())
    assert other.connections == 0


async def test_header_names_are_lower_case(start: Starter, client: Client) -> None:
    peer = await start(wire(OK.replace(b"\r\n\r\n", b"\r\nRetry-AFTER: 7\r\n\r\n")))

    assert (await client(Request("GET", peer.url()))).headers["retry-after"] == "7"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 10,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 1001,
    ],
    ids=["announced", "in pieces", "until the end"],
)
async def test_a_large_answer_is_not_read(start: Starter, client: Client, data: bytes) -> None:
    """Its connection is given up."""
    peer = await start(wire(data))

    error = await failure(client, Request("GET", peer.url()))

    assert (error.code, error.sent) == ("answer-too-large", True)
    await asyncio.wait_for(peer.left.wait(), 5)


async def test_an_answer_of_the_limit_is_read(start: Starter, client: Client) -> None:
    peer = await start(wire(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000))

    assert len((await client(Request("GET", peer.url()))).body) == 1000


# What fails


@pytest.mark.parametrize(
    "answer",
    [silent, wire(b"HTTP/1.1 200"), wire(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")],
    ids=["nothing", "half a head", "half a body"],
)
async def test_an_exchange_has_a_deadline(
    start: Starter, client: Client, answer: Callable[..., Awaitable[None]]
) -> None:
    """Wherever it stops; the peer may have seen the request."""
    peer = await start(answer)

    error = await failure(client, Request("POST", peer.url(), body=b"{}", timeout=0.05))

    assert (error.code, error.sent, error.status) == ("deadline", True, 504)
    await asyncio.wait_for(peer.left.wait(), 5)


async def test_waiting_for_a_connection_counts_too(start: Starter) -> None:
    """Nothing of such a request was sent."""
    peer = await start(silent)
    client = Client(connections=1)
    first = asyncio.create_task(client(Request("GET", peer.url(), timeout=5)))
    await peer.asked.wait()

    error = await failure(client, Request("GET", peer.url(), timeout=0.05))

    assert error.code in ("deadline", "unreachable")
    assert len(peer.requests) == 1
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await client.close()


async def test_a_refused_connection_was_not_used(client: Client) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"

        error = await failure(client, Request("GET", url))

    assert (error.code, error.sent, error.status) == ("unreachable", False, 502)


async def test_an_unknown_host_is_unreachable(client: Client) -> None:
    error = await failure(client, Request("GET", "https://nowhere.invalid/"))

    assert (error.code, error.sent) == ("unreachable", False)


@pytest.mark.parametrize(
    "answer",
    [
        closing(b""),
        closing(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"),
        wire(b"SSH-2.0-x\r\n\r\n"),
        wire(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
    ],
    ids=["hangs up", "half a body", "another protocol", "malformed head"],
)
async def test_a_peer_that_breaks_off_is_unreachable(
    start: Starter, client: Client, answer: Callable[..., Awaitable[None]]
) -> None:
    """Whether it has seen the request is not known."""
    peer = await start(answer)

    error = await failure(client, Request("POST", peer.url(), body=b"{}"))

    assert (error.code, error.sent) == ("unreachable", True)


async def test_a_request_that_breaks_off_is_not_sent_again(start: Starter, client: Client) -> None:
    """A POST is written once, also into a connection that was used before."""
    peer = await start()
    await client(Request("POST", peer.url(), body=b"{}"))
    peer.answer = closing(b"")

    await failure(client, Request("POST", peer.url(), body=b"{}"))

    assert len(peer.requests) == 2


async def test_an_error_never_holds_the_token(start: Starter, client: Client) -> None:
    """Not even in what it was raised from."""
    peer = await start(wire(b"junk\r\n\r\n"))

    error = await failure(client, Request("POST", peer.url(), {"Authorization": "Bearer hush"}))

    assert "hush" not in f"{error!r} {error.__cause__!r}"
    assert "hush" not in f"{Request('GET', peer.url(), {'Authorization': 'hush'}, b'hush')!r}"


async def test_a_cancelled_request_lets_the_peer_go(start: Starter, client: Client) -> None:
    peer = await start(silent)
    request = asyncio.create_task(client(Request("POST", peer.url(), body=b"{}")))
    await peer.asked.wait()

    request.cancel()

    with pytest.raises(asyncio.CancelledError):
        await request
    await asyncio.wait_for(peer.left.wait(), 5)


async def test_a_cancelled_request_harms_no_other(start: Starter, client: Client) -> None:
    peer = await start(silent)
    request = asyncio.create_task(client(Request("GET", peer.url())))
    await peer.asked.wait()
    request.cancel()
    peer.answer = plain

    assert (await client(Request("GET", peer.url()))).body == b"ok"


async def test_closing_ends_what_is_open(start: Starter) -> None:
    peer = await start(silent)
    client = Client()
    request = asyncio.create_task(client(Request("GET", peer.url())))
    await peer.asked.wait()

    await client.close()

    with pytest.raises(TransportFailed):
        await request


async def test_a_closed_client_stays_closed(start: Starter) -> None:
    peer = await start()
    client = Client()
    await client.close()
    await client.close()

    error = await failure(client, Request("GET", peer.url()))

    assert (error.code, error.sent, peer.connections) == ("unreachable", False, 0)


# Guards

ALWAYS_REFUSED = [
    *["", "/", "127.0.0.1", "ftp://127.0.0.1/", "file:///etc/passwd", "http:///x", "http://"],
    *["http://user@127.0.0.1/", "http://:pw@127.0.0.1/", "http://@127.0.0.1/", "http://[::1/"],
    *["http://127.0.0.1:99999/", "http://127.0.0.1:x/", "http://127.0.0.1:0/"],
    *["http://127.0.0.1\\@evil.example/", "http://evil.example\\.localhost/"],
    *[
        "http://local\thost/",
        "http://127.0.0.1/a\r\nX: y",
        "http://127.0.0.1/a b",
        "http://①27.0.0.1/",
    ],
    *[" http://127.0.0.1/", "http://127.0.0.1.evil.example/", "http://localhost.evil.example/"],
    *["http://10.0.0.1/", "http://169.254.169.254/", "http://[fe80::1]/", "http://0.0.0.0/"],
]


@pytest.mark.parametrize("url", ALWAYS_REFUSED)
def test_an_unclear_or_plain_address_is_refused(url: str) -> None:
    assert not allow_https_or_loopback(url)
    assert not allow_loopback(url)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:80/", "http://localhost/", "https://[::1]:8443/x", "http://a.localhost"],
)
def test_loopback_is_allowed(url: str) -> None:
    assert allow_https_or_loopback(url)
    assert allow_loopback(url)


@pytest.mark.parametrize("url", ["https://skill.example/", "HTTPS://10.0.0.1:8443/a%2Fb?c=d"])
def test_the_lab_does_not_leave_the_machine(url: str) -> None:
    assert allow_https_or_loopback(url)
    assert not allow_loopback(url)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "LOCALHOST", "a.localhost"]
)
def test_loopback_has_many_names(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "10.0.0.1", "localhost.example", "127.1", "1"]
)
def test_what_only_looks_like_loopback_is_not(host: str) -> None:
    assert not is_loopback(host)


async def test_nothing_is_sent_where_the_guard_forbids(start: Starter) -> None:
    peer = await start()
    client = Client(guard=lambda url: False)

    error = await failure(client, Request("GET", peer.url()))

    assert (error.code, error.sent, peer.connections) == ("host-not-allowed", False, 0)


def test_an_answer_is_not_shown() -> None:
    assert "hush" not in repr(Response(200, {"x": "hush"}, b"hush"))
