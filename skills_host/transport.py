"""The outbound seam: one callable from `Request` to `Response`, and the pooled client behind it.

Everything that needs the network takes a `Send`; a test passes a function or a loopback into a
real app. aiohttp is touched here only, and its errors become `TransportFailed` here.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

import aiohttp
from yarl import URL

from skills_host.errors import TransportFailed

__all__ = [
    "EVENT_STREAM",
    "Client",
    "Guard",
    "Request",
    "Resolve",
    "Response",
    "Send",
    "allow_https_or_loopback",
    "allow_loopback",
    "is_loopback",
]

EVENT_STREAM = "text/event-stream"
ANSWER_BYTES = 16 * 1024 * 1024

# What one parser drops or turns around, another takes for a host name.
_UNCLEAR = re.compile(r"[^!-~]|\\")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; `timeout` is the whole exchange's deadline in seconds.

    With `stream`, an answer that is an event stream is handed over as it comes.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    timeout: float = 15.0
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP answer, read whole; header names are lower case.

    `chunks` is there instead of `body` where a stream was asked for and is coming; whoever gets it
    reads it to its end or closes it. It raises `TransportFailed` where the peer breaks off.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    chunks: AsyncGenerator[bytes] | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """True for any 2xx: peers use 200, 201, 202 and 204 for the same thing."""
        return 200 <= self.status < 300


Send = Callable[[Request], Awaitable[Response]]
"""Sends one request and returns the answer, whatever its status; raises `TransportFailed`."""

Guard = Callable[[str], bool]
"""Says whether a URL may be called at all."""


IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

Resolve = Callable[[str, int], Awaitable[Sequence[IPAddress]]]
"""The addresses of a host name that may be connected to; raises `TransportFailed` for others."""


def is_loopback(host: str) -> bool:
    """True for `localhost`, `*.localhost` and the loopback addresses of both families."""
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def allow_loopback(url: str) -> bool:
    """The lab's guard: nothing leaves the machine, and no credentials in the URL."""
    parts = _parts(url)
    return parts is not None and is_loopback(parts.hostname or "")


def allow_https_or_loopback(url: str) -> bool:
    """The usual guard: https everywhere, plain http to loopback only, no credentials in the URL."""
    parts = _parts(url)
    return parts is not None and (parts.scheme == "https" or is_loopback(parts.hostname or ""))


def _parts(url: str) -> SplitResult | None:
    """The parts of a URL that can be understood in one way only; None for any other."""
    try:
        parts = urlsplit(url)
        clear = _UNCLEAR.search(url) is None and parts.port != 0 and parts.username is None
    except ValueError:
        return None
    return parts if clear and parts.hostname and parts.scheme in ("http", "https") else None


class Client:
    """A pooled HTTP client; an instance is a `Send`. It belongs to one event loop; `close` it.

    Idle connections are dropped after `idle` seconds: hypercorn closes its side after five, and a
    request written into a connection that is being closed can be neither trusted nor repeated.

    With `resolve`, a name is looked up by it once for each connection, which then goes to one of
    these addresses and nowhere else; host names that are addresses are the guard's to judge.
    Without `decoded`, a compressed answer stays as it is.
    """

    def __init__(
        self,
        *,
        guard: Guard = allow_https_or_loopback,
        connections: int = 256,
        idle: float = 3.0,
        connect: float = 5.0,
        answer_bytes: int = ANSWER_BYTES,
        resolve: Resolve | None = None,
        decoded: bool = True,
    ) -> None:
        self._guard = guard
        self._connections = connections
        self._idle = idle
        self._connect = connect
        self._answer_bytes = answer_bytes
        self._resolve = resolve
        self._decoded = decoded
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    async def __call__(self, request: Request) -> Response:
        """Send `request`; redirects are not followed and cookies are not kept."""
        if not self._guard(request.url):
            raise TransportFailed(code="host-not-allowed", sent=False)
        if self._is_closed:
            raise TransportFailed(sent=False)
        with _translated():
            answer = await self._opened().request(
                request.method,
                # Ids in paths arrive here percent-encoded; encoding them again would change them.
                URL(request.url, encoded=True),
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
                timeout=self._deadline(request.timeout),
            )
            headers = {name.lower(): value for name, value in answer.headers.items()}
            if request.stream and answer.ok and answer.content_type == EVENT_STREAM:
                return Response(answer.status, headers, chunks=_chunks(answer))
            async with answer:
                return Response(answer.status, headers, await self._body(answer))

    async def close(self) -> None:
        """Close the pool for good; requests still open fail."""
        self._is_closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            await asyncio.sleep(0)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections,
                    keepalive_timeout=self._idle,
                    ttl_dns_cache=60,
                    use_dns_cache=self._resolve is None,
                    resolver=None if self._resolve is None else _Resolver(self._resolve),
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=self._decoded,
            )
        return self._session

    def _deadline(self, total: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=total, sock_connect=min(self._connect, total))

    async def _body(self, answer: aiohttp.ClientResponse) -> bytes:
        announced = answer.content_length
        if announced is not None and announced > self._answer_bytes:
            raise TransportFailed(code="answer-too-large")
        body = bytearray()
        async for piece in answer.content.iter_any():
            body += piece
            if len(body) > self._answer_bytes:
                raise TransportFailed(code="answer-too-large")
        return bytes(body)


class _Resolver(aiohttp.abc.AbstractResolver):
    """What aiohttp asks for addresses, answered by a `Resolve`."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        return [
            aiohttp.abc.ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await self._resolve(host, port)
        ]

    async def close(self) -> None:
        """Nothing is open."""


async def _chunks(answer: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
    with _translated():
        async with answer:
            async for piece in answer.content.iter_any():
                yield piece


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError) as exc:
        raise TransportFailed(code="unreachable", sent=False) from exc
    except TimeoutError:
        raise TransportFailed(code="deadline") from None
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        # Some of aiohttp's errors hold the request's headers, and with them the token.
        raise TransportFailed(f"a peer broke off: {type(exc).__name__}") from None
