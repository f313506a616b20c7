"""Manifests, and the files that they name, from addresses that strangers have written.

Only public addresses are connected to, and a name is looked up once: what was checked is what is
connected to. Nothing that belongs to the host is sent along, and every wait ends.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

from skills_host.consumer.manifest.addresses import Network, endpoint_fault, is_reachable
from skills_host.consumer.manifest.codes import CODES
from skills_host.errors import TransportFailed
from skills_host.transport import Client, IPAddress, Request, Resolve, Response

__all__ = ["Fetched", "Fetcher", "resolve_all"]

FETCH_SECONDS = 10.0
FETCH_BYTES = 512 * 1024
FILE_BYTES = 2 * 1024 * 1024
"""A language model may be larger than a manifest: some have fifteen thousand utterances."""
REDIRECTS = 3
ETAG_CHARACTERS = 200

_JSON = "application/json, application/*+json"
_TEXT = ("text/plain", "text/markdown", "text/x-lu", "application/lu", "application/octet-stream")

LookUp = Callable[[str, int], Awaitable[Sequence[IPAddress]]]
"""All addresses of a host name; `OSError` if it has none."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was found at an address: its bytes, where it was in the end, and its entity tag."""

    url: str
    body: bytes = field(repr=False)
    etag: str = ""


async def resolve_all(host: str, port: int) -> Sequence[IPAddress]:
    """The addresses of a host name as the system has them. Raises `OSError`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
    return [ipaddress.ip_address(text) for text in texts]


class Fetcher:
    """Fetches what strangers name. It belongs to one event loop; `close` it.

    With `dev`, loopback may be fetched from, by plain http too; `networks` are allowed beside what
    is public. Every failure is a `TransportFailed` with its code.
    """

    def __init__(
        self,
        *,
        dev: bool = False,
        networks: Sequence[Network] = (),
        look_up: LookUp = resolve_all,
        seconds: float = FETCH_SECONDS,
    ) -> None:
        self._dev = dev
        self._networks = tuple(networks)
        self._look_up = look_up
        self._seconds = seconds
        # The checks below say more; what gets past them is stopped here.
        allow = self._is_allowed
        resolve: Resolve = self._resolved
        self._manifests = Client(
            guard=allow, answer_bytes=FETCH_BYTES, resolve=resolve, decoded=False, connections=8
        )
        self._files = Client(
            guard=allow, answer_bytes=FILE_BYTES, resolve=resolve, decoded=False, connections=8
        )

    async def manifest(self, url: str, *, etag: str = "") -> Fetched | None:
        """The JSON document at an address; None if it is the one with this entity tag still."""
        headers = {"If-None-Match": etag} if etag else {}
        found = await self._fetched(self._manifests, url, headers | {"Accept": _JSON})
        if found is None and not etag:
            raise TransportFailed("304 to a request without a tag", code="bad-status")
        if found is None:
            return None
        response, final = found
        kind = _kind(response)
        if kind != "application/json" and not kind.endswith("+json"):
            raise TransportFailed("the answer is not announced as JSON", code="bad-media-type")
        return Fetched(final, response.body, _etag(response))

    async def file(self, url: str, *, manifest_url: str = "") -> Fetched:
        """A text file that a manifest names, like a .lu file; its address may be relative."""
        found = await self._fetched(
            self._files, _joined(manifest_url, url), {"Accept": ", ".join(_TEXT)}
        )
        if found is None:
            raise TransportFailed("304 to a request without a tag", code="bad-status")
        response, final = found
        if _kind(response) not in (*_TEXT, ""):
            raise TransportFailed("the answer is not announced as text", code="bad-media-type")
        return Fetched(final, response.body, _etag(response))

    async def check(self, url: str) -> None:
        """Nothing, if an endpoint's address leads to where a skill may be; nothing is sent there.

        Raises `TransportFailed` (`address-not-public`, `unreachable`, `deadline`).
        """
        self._check(url)
        parts = urlsplit(url)
        host = parts.hostname or ""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            async with _in_time(self._seconds):
                await self._resolved(host, parts.port or 443)

    async def close(self) -> None:
        """Close the connections; what is being fetched fails."""
        await self._manifests.close()
        await self._files.close()

    async def _fetched(
        self, client: Client, url: str, headers: dict[str, str]
    ) -> tuple[Response, str] | None:
        """The answer with 200 and where it came from; None for 304."""
        headers = headers | {"Accept-Encoding": "identity", "User-Agent": "skills-host"}
        async with _in_time(self._seconds):
            for _ in range(REDIRECTS + 1):
                self._check(url)
                response = await client(Request("GET", url, headers, timeout=self._seconds))
                if response.status not in (301, 302, 303, 307, 308):
                    return _accepted(response, url)
                url = _redirected(url, response.headers.get("location", ""))
        raise TransportFailed("too many redirects", code="redirected")

    def _check(self, url: str) -> None:
        code = endpoint_fault(url, dev=self._dev, networks=self._networks)
        if code is not None:
            said = f"{CODES[code].meaning} ({code})".replace("endpoint", "address")
            raise TransportFailed(said, code="address-not-public", sent=False)

    def _is_allowed(self, url: str) -> bool:
        return endpoint_fault(url, dev=self._dev, networks=self._networks) is None

    async def _resolved(self, host: str, port: int) -> Sequence[IPAddress]:
        """The addresses of a name, if every one of them may be connected to."""
        try:
            found = await self._look_up(host, port)
        except OSError:
            found = ()
        if not found:
            raise TransportFailed("the name has no address", sent=False)
        for address in found:
            if not is_reachable(address, dev=self._dev, networks=self._networks):
                message = "the name leads into a private, local or reserved network"
                raise TransportFailed(message, code="address-not-public", sent=False)
        return found


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncGenerator[None]:
    """A time for all that is done within; its end is a `TransportFailed` (`deadline`)."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise TransportFailed(code="deadline") from None


def _accepted(response: Response, url: str) -> tuple[Response, str] | None:
    if response.status == 304:
        return None
    if response.status != 200:
        raise TransportFailed(f"the peer answers with {response.status}", code="bad-status")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise TransportFailed("the answer is compressed, unasked", code="bad-media-type")
    return response, url


def _redirected(url: str, location: str) -> str:
    """Where an answer sends on to, if that is of the same origin."""
    target = _joined(url, location)
    if not location or _origin(target) != _origin(url):
        raise TransportFailed("the peer sends on to another origin", code="redirected")
    return target


def _joined(base: str, url: str) -> str:
    """An address that may be relative to another; one that makes no sense stays as it is."""
    try:
        return urljoin(base, url)
    except ValueError:
        return url


def _origin(url: str) -> tuple[str, str, int | None]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname or "", parts.port or {"https": 443}.get(parts.scheme)
    except ValueError:
        return "", "", None


def _kind(response: Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


def _etag(response: Response) -> str:
    etag = response.headers.get("etag", "")
    return etag if len(etag) <= ETAG_CHARACTERS else ""
