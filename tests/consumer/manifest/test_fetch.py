"""Fetching what strangers name: from real servers on loopback, with names that a test resolves."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from skills_host.consumer.manifest.fetch import FETCH_BYTES, Fetcher
from skills_host.errors import TransportFailed
from skills_host.transport import IPAddress

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)

Answer = Callable[[asyncio.StreamWriter, str], Awaitable[None]]


def said(status: str, body: bytes = b"", **headers: str) -> bytes:
    """An answer as bytes; `content_type` and so on name headers."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines])
    return head.encode() + b"\r\n\r\n" + body


@dataclass
class Server:
    """A server on loopback; it keeps the heads of requests that it got."""

    port: int
    heads: list[str] = field(default_factory=list)

    def url(self, path: str = "/m.json", host: str = "localhost") -> str:
        """An address of it."""
        return f"http://{host}:{self.port}{path}"


@asynccontextmanager
async def serving(answers: Sequence[bytes], *, rest: float = 0) -> AsyncIterator[Server]:
    """A server that gives these answers in turn; a byte each `rest` seconds."""
    server = Server(0)
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            answer = left.pop(0) if len(left) > 1 else left[0]
            for piece in [answer[i : i + 1] for i in range(len(answer))] if rest else [answer]:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(rest)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


class Names:
    """Plays the system's resolver: each look-up of a name gives the next of its lists."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.left = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[IPAddress]:
        self.asked.append(host)
        answer = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        if not answer:
            raise OSError("no such name")
        return [ipaddress.ip_address(text) for text in answer]


@asynccontextmanager
async def fetching(
    names: Names | None = None, *, dev: bool = True, seconds: float = 5.0
) -> AsyncIterator[Fetcher]:
    """A fetcher whose names a test resolves."""
    fetcher = Fetcher(dev=dev, look_up=names or Names(["127.0.0.1"]), seconds=seconds)
    try:
        yield fetcher
    finally:
        await fetcher.close()


async def refusal(work: Awaitable[object]) -> str:
    """The code that something fails with."""
    with pytest.raises(TransportFailed) as caught:
        await work
    return caught.value.code


# What is fetched


async def test_a_manifest_is_fetched_with_its_tag() -> None:
    answer = said("200 OK", b"{}", content_type="application/json; charset=utf-8", etag='"1"')
    async with serving([answer]) as server, fetching() as fetcher:
        found = await fetcher.manifest(server.url())

    assert found is not None
    assert (found.body, found.etag, found.url) == (b"{}", '"1"', server.url())


async def test_nothing_of_the_host_is_sent_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials, cookies or proxy."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    cookie = said("200 OK", b"{}", content_type="application/json", set_cookie="a=b")
    async with serving([cookie]) as server, fetching() as fetcher:
        await fetcher.manifest(server.url())
        await fetcher.manifest(server.url())

    names = [line.split(":")[0].lower() for head in server.heads for line in head.split("\r\n")[1:]]
    assert set(filter(None, names)) == {"host", "accept", "accept-encoding", "user-agent"}
    assert "identity" in server.heads[0] and "aiohttp" not in server.heads[0]


async def test_an_unchanged_manifest_is_not_sent_again() -> None:
    async with serving([said("304 Not Modified")]) as server, fetching() as fetcher:
        assert await fetcher.manifest(server.url(), etag='"1"') is None
        assert await refusal(fetcher.manifest(server.url())) == "bad-status"

    assert 'If-None-Match: "1"' in server.heads[0]


async def test_a_redirect_within_the_origin_is_followed() -> None:
    async with (
        serving([said("302 Found", location="/n.json"), OK]) as server,
        fetching() as fetcher,
    ):
        found = await fetcher.manifest(server.url())

    assert found is not None
    assert found.url == server.url("/n.json")
    assert server.heads[1].startswith("GET /n.json ")


async def test_a_file_is_found_beside_its_manifest() -> None:
    answer = said("200 OK", b"# Greet\n- hi", content_type="text/plain")
    async with serving([answer]) as server, fetching() as fetcher:
        found = await fetcher.file("lu/en.lu", manifest_url=server.url("/a/m.json"))

    assert found.body == b"# Greet\n- hi"
    assert server.heads[0].startswith("GET /a/lu/en.lu ")


# What is refused


@pytest.mark.parametrize(
    "url",
    [
        *["http://skill.example/", "https://10.0.0.5/", "https://169.254.169.254/latest/meta-data/"],
        *["https://u:p@skill.example/", "file:///etc/passwd", "javascript:alert(1)", "", "m.json"],
        *["https://[::ffff:127.0.0.1]/", "https://0x7f000001/", "https://metadata.google.internal/"],
        *["https://localhost/", "http://127.0.0.1/", "https://skill.example/#a", "gopher://x/"],
    ],
)  # fmt: skip
async def test_an_address_that_is_not_public_is_refused(url: str) -> None:
    names = Names(["8.8.8.8"])
    async with fetching(names, dev=False) as fetcher:
        assert await refusal(fetcher.manifest(url)) == "address-not-public"
        assert await refusal(fetcher.file(url)) == "address-not-public"
        assert await refusal(fetcher.check(url)) == "address-not-public"

    assert names.asked == []


@pytest.mark.parametrize(
    "addresses",
    [
        *[["127.0.0.1"], ["10.0.0.5"], ["169.254.169.254"], ["::1"], ["fe80::1"], ["fd00::1"]],
        *[["8.8.8.8", "10.0.0.5"], ["::ffff:127.0.0.1"], ["64:ff9b::a00:5"], ["0.0.0.0"]],
    ],
)
async def test_a_name_that_leads_inside_is_refused_before_anything_is_sent(
    addresses: list[str],
) -> None:
    async with serving([OK]) as server, fetching(Names(addresses), dev=False) as fetcher:
        url = f"https://skill.example:{server.port}/m.json"
        assert await refusal(fetcher.manifest(url)) == "address-not-public"
        assert await refusal(fetcher.check(url)) == "address-not-public"

    assert server.heads == []


async def test_developing_opens_loopback_and_nothing_else() -> None:
    async with serving([OK]) as server, fetching(Names(["10.0.0.5"])) as fetcher:
        assert await refusal(fetcher.manifest(server.url())) == "address-not-public"
        assert await refusal(fetcher.manifest("http://10.0.0.5/m")) == "address-not-public"


async def test_what_was_looked_up_is_what_is_connected_to() -> None:
    """A name that changes between the look and the connection finds nobody looking again."""
    names = Names(["127.0.0.1"], ["10.0.0.5"])
    async with serving([OK]) as server, fetching(names) as fetcher:
        found = await fetcher.manifest(server.url(host="skill.localhost"))

    assert found is not None
    assert names.asked == ["skill.localhost"]
    assert f"Host: skill.localhost:{server.port}" in server.heads[0]


async def test_each_new_connection_is_looked_up_anew() -> None:
    names = Names(["127.0.0.1"], ["10.0.0.5"])
    answer = said("200 OK", b"{}", content_type="application/json", connection="close")
    async with serving([answer]) as server, fetching(names) as fetcher:
        await fetcher.manifest(server.url())
        assert await refusal(fetcher.manifest(server.url())) == "address-not-public"

    assert len(server.heads) == 1


async def test_a_name_without_an_address_is_told() -> None:
    async with fetching(Names([])) as fetcher:
        assert await refusal(fetcher.manifest("http://localhost:9/")) == "unreachable"
        assert await refusal(fetcher.check("http://localhost:9/")) == "unreachable"


@pytest.mark.parametrize(
    "location",
    [
        *["https://localhost/m.json", "http://localhost:1/m.json", "//other.localhost/m.json"],
        *[
            "file:///etc/passwd",
            "http://169.254.169.254/",
            "",
            "http://[::1",
            "\\\\evil.example\\x",
        ],
    ],
)
async def test_a_redirect_to_another_origin_is_refused(location: str) -> None:
    async with serving([said("302 Found", location=location)]) as server, fetching() as fetcher:
        assert await refusal(fetcher.manifest(server.url())) in ("redirected", "address-not-public")

    assert len(server.heads) == 1


async def test_a_chain_of_redirects_is_refused() -> None:
    async with serving([said("302 Found", location="/again")]) as server, fetching() as fetcher:
        assert await refusal(fetcher.manifest(server.url())) == "redirected"

    assert len(server.heads) == 4


async def test_a_slow_server_is_left() -> None:
    async with serving([OK], rest=0.05) as server, fetching(seconds=0.3) as fetcher:
        assert await refusal(fetcher.manifest(server.url())) == "deadline"


async def test_slow_redirects_share_one_deadline() -> None:
    slow = said("302 Found", location="/x")
    async with serving([slow], rest=0.005) as server, fetching(seconds=0.5) as fetcher:
        assert await refusal(fetcher.manifest(server.url())) == "deadline"

    assert len(server.heads) <= 3


async def test_a_slow_resolver_is_left() -> None:
    class Slow(Names):
        async def __call__(self, host: str, port: int) -> Sequence[IPAddress]:
            await asyncio.Event().wait()
            return []

    async with fetching(Slow([]), seconds=0.05) as fetcher:
        assert await refusal(fetcher.check("http://localhost:9/")) == "deadline"
        assert await refusal(fetcher.manifest("http://localhost:9/")) == "deadline"


@pytest.mark.parametrize("announced", [True, False])
async def test_a_large_answer_is_refused(announced: bool) -> None:
    body = b'"' + b"x" * FETCH_BYTES + b'"'
    answer = said("200 OK", body, content_type="application/json")
    if not announced:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
        answer = head + body
    async with serving([answer]) as server, fetching() as fetcher:
        assert await refusal(fetcher.manifest(server.url())) == "answer-too-large"


@pytest.mark.parametrize(
    "answer",
    [
        *[said("200 OK", b"{}"), said("200 OK", b"{}", content_type="text/html")],
        said("200 OK", b"{}", content_type="text/plain"),
        said("200 OK", b"{}", content_type="application/json", content_encoding="gzip"),
    ],
)
async def test_what_is_not_json_is_refused(answer: bytes) -> None:
    async with serving([answer]) as server, fetching() as fetcher:
        assert await refusal(fetcher.manifest(server.url())) == "bad-media-type"


async def test_a_file_is_text() -> None:
    answer = said("200 OK", b"<p>", content_type="text/html")
    async with serving([answer]) as server, fetching() as fetcher:
        assert await refusal(fetcher.file(server.url("/en.lu"))) == "bad-media-type"


@pytest.mark.parametrize("status", ["404 Not Found", "401 Unauthorized", "204 No Content"])
async def test_another_status_is_refused(status: str) -> None:
    async with serving([said(status)]) as server, fetching() as fetcher:
        assert await refusal(fetcher.manifest(server.url())) == "bad-status"


async def test_a_network_can_be_allowed() -> None:
    fetcher = Fetcher(networks=LOOPBACK, look_up=Names(["127.0.0.1"]))
    await fetcher.check("https://skill.example/api/messages")
    await fetcher.check("https://127.0.0.1/api/messages")
    await fetcher.close()


async def test_what_is_checked_is_not_called() -> None:
    async with serving([OK]) as server, fetching() as fetcher:
        await fetcher.check(server.url())

    assert server.heads == []


async def test_two_are_fetched_at_once() -> None:
    async with serving([OK]) as server, fetching() as fetcher:
        found = await asyncio.gather(*(fetcher.manifest(server.url(f"/{i}")) for i in range(2)))

    assert [one.body if one else None for one in found] == [b"{}", b"{}"]
