"""Signing keys of the authorities: fetched once for all who ask, kept while an authority is down.

An unknown key id makes the keys be fetched again, but only as often as a token bucket allows:
whoever sends forged tokens must not be able to turn the host against its authority.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import InvalidKeyError
from jwt.algorithms import RSAAlgorithm

from skills_host.auth.denials import Denied
from skills_host.errors import CODES, SettingsError, TransportFailed
from skills_host.transport import Request, Send

__all__ = ["SigningKey", "SigningKeys", "signing_keys"]

DOCUMENT_BYTES = 1024 * 1024
LAB_MARK = "skills_host_lab"
MAX_AGE = re.compile(r"(?:^|[,\s])max-age=([0-9]{1,9})(?![0-9])")
REMEMBERED_UNKNOWN = 1024
RSA_BITS = range(2048, 16384 + 1)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public RSA key; `endorsements` are the channels it may speak for (None: not stated)."""

    kid: str
    key: RSAPublicKey = field(repr=False)
    endorsements: frozenset[str] | None = None


@dataclass(slots=True)
class _Bucket:
    """Allows `burst` events at once and one more every `refill` seconds."""

    burst: int
    refill: float
    held: float
    since: float

    def take(self, now: float) -> bool:
        gained = max(0.0, now - self.since) / self.refill
        self.held, self.since = min(float(self.burst), self.held + gained), now
        if self.held < 1.0:
            return False
        self.held -= 1.0
        return True


@dataclass(slots=True)
class _Authority:
    """What is known of one metadata address; owned by `SigningKeys`, changed by its task only."""

    bucket: _Bucket
    keys: Mapping[str, SigningKey] = field(default_factory=dict)
    due: float = float("-inf")
    failed: float = float("-inf")
    unknown: dict[str, float] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None


def signing_keys(document: Mapping[str, Any]) -> Mapping[str, SigningKey]:
    """The usable keys of a JWKS by key id: RSA, for signatures, of a sound size; others are left.

    Raises `ValueError` if there are none.
    """
    listed = document.get("keys")
    found: dict[str, SigningKey] = {}
    for jwk in listed if isinstance(listed, list) else ():
        key = _signing_key(jwk) if isinstance(jwk, dict) else None
        if key is not None:
            found.setdefault(key.kid, key)
    if not found:
        raise ValueError("no usable signing key")
    return found


class SigningKeys:
    """The keys of every authority that is asked about; belongs to one event loop; `close` it.

    Keys are fetched anew by one task when half of the time is over for which the authority lets
    its documents be kept (`max_age` seconds where it says nothing, and never more), and at most
    every `soonest` seconds; until then, and for as long as that fails, those at hand are used.
    `burst` and `refill` bound the fetches for unknown key ids per authority; an id found unknown
    is refused for `negative` seconds without asking. After a failure nothing is fetched for
    `retry` seconds. `timeout` bounds one fetch of both documents.
    """

    def __init__(
        self,
        send: Send,
        *,
        now: Callable[[], float],
        allow_lab: bool = False,
        max_age: float = 24 * 3600.0,
        soonest: float = 60.0,
        burst: int = 5,
        refill: float = 300.0,
        negative: float = 30.0,
        retry: float = 1.0,
        timeout: float = 5.0,
    ) -> None:
        self._send = send
        self._now = now
        self._allow_lab = allow_lab
        self._max_age = max_age
        self._soonest = soonest
        self._burst = burst
        self._refill = refill
        self._negative = negative
        self._retry = retry
        self._timeout = timeout
        self._authorities: dict[str, _Authority] = {}
        self._generation = 0

    @property
    def generation(self) -> int:
        """A number that changes whenever any authority's keys change."""
        return self._generation

    async def warm(self, metadata_url: str) -> None:
        """Fetch the keys now, at start-up.

        Raises `SettingsError("lab-in-public")` for a lab authority where none is allowed, and
        `Denied("keys-unavailable")` if the authority cannot be used at the moment.
        """
        await self._refreshed(metadata_url)

    async def key(self, metadata_url: str, kid: str) -> SigningKey:
        """The key `kid` of an authority. Raises `Denied`: `unknown-key` or `keys-unavailable`."""
        authority = self._authority(metadata_url)
        found = authority.keys.get(kid)
        if found is None:
            return await self._sought(metadata_url, kid)
        if self._is_due(authority):
            self._refreshing(metadata_url)
        return found

    async def close(self) -> None:
        """Stop fetching; whoever still waits is told that there are no keys."""
        tasks = [a.task for a in self._authorities.values() if a.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _sought(self, metadata_url: str, kid: str) -> SigningKey:
        authority = self._authority(metadata_url)
        self._check_may_seek(authority, kid)
        try:
            await self._refreshed(metadata_url)
        except (Denied, SettingsError) as exc:
            raise Denied("keys-unavailable") from exc
        found = authority.keys.get(kid)
        if found is None:
            self._note_unknown(authority, kid)
            raise Denied("unknown-key", seen=kid)
        return found

    def _check_may_seek(self, authority: _Authority, kid: str) -> None:
        now = self._now()
        if authority.task is not None:
            return
        if not authority.keys:
            if now < authority.failed + self._retry:
                raise Denied("keys-unavailable")
        elif now < authority.unknown.get(kid, now) or not authority.bucket.take(now):
            raise Denied("unknown-key", seen=kid)

    def _note_unknown(self, authority: _Authority, kid: str) -> None:
        if len(authority.unknown) >= REMEMBERED_UNKNOWN:
            del authority.unknown[next(iter(authority.unknown))]
        authority.unknown[kid] = self._now() + self._negative

    def _authority(self, metadata_url: str) -> _Authority:
        authority = self._authorities.get(metadata_url)
        if authority is None:
            bucket = _Bucket(self._burst, self._refill, self._burst, self._now())
            authority = self._authorities[metadata_url] = _Authority(bucket)
        return authority

    def _is_due(self, authority: _Authority) -> bool:
        now = self._now()
        return now >= authority.due and now >= authority.failed + self._retry

    def _refreshing(self, metadata_url: str) -> asyncio.Task[None]:
        authority = self._authority(metadata_url)
        if authority.task is None:
            task = asyncio.create_task(self._refresh(metadata_url, authority))
            authority.task = task
            task.add_done_callback(lambda done: self._settle(metadata_url, authority, done))
        return authority.task

    async def _refreshed(self, metadata_url: str) -> None:
        task = self._refreshing(metadata_url)
        # Unlike awaiting the task, this leaves it running when one who waits is cancelled.
        await asyncio.wait({task})
        if task.cancelled():
            raise Denied("keys-unavailable")
        task.result()

    async def _refresh(self, metadata_url: str, authority: _Authority) -> None:
        keys, life = await self._published(metadata_url)
        if keys != authority.keys:
            self._generation += 1
        authority.keys = keys
        authority.due = self._now() + max(self._soonest, min(life, self._max_age) / 2)
        authority.unknown.clear()

    def _settle(self, metadata_url: str, authority: _Authority, task: asyncio.Task[None]) -> None:
        authority.task = None
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            authority.failed = self._now()
            why = error.__cause__ or error
            logger.warning("signing keys of %s could not be fetched: %s", metadata_url, why)

    async def _published(self, metadata_url: str) -> tuple[Mapping[str, SigningKey], float]:
        """The keys, and the seconds for which both documents may be kept."""
        try:
            async with asyncio.timeout(self._timeout):
                metadata, first = await self._document(metadata_url)
                document, second = await self._document(_jwks_uri(metadata))
                return signing_keys(document), min(first, second)
        except (TransportFailed, TimeoutError, ValueError, RecursionError) as exc:
            raise Denied("keys-unavailable") from exc

    async def _document(self, url: str) -> tuple[Mapping[str, Any], float]:
        scheme = urlsplit(url).scheme
        if scheme not in ("http", "https"):
            raise ValueError("not an address")
        self._check_lab(url, lab=scheme == "http")
        answer = await self._send(Request("GET", url, timeout=self._timeout))
        if answer.status != 200 or len(answer.body) > DOCUMENT_BYTES:
            raise ValueError("not a document")
        document = json.loads(answer.body)
        if not isinstance(document, dict):
            raise ValueError("not an object")
        self._check_lab(url, lab=document.get(LAB_MARK, False) is not False)
        return document, _life(answer.headers.get("cache-control", ""))

    def _check_lab(self, url: str, *, lab: bool) -> None:
        if lab and not self._allow_lab:
            raise SettingsError(
                f"cloud: {url}: {CODES['lab-in-public'].meaning}", code="lab-in-public"
            )


def _life(cache_control: str) -> float:
    """How many seconds an answer may be kept; for ever, where it does not say so."""
    found = MAX_AGE.search(cache_control.lower())
    return float(found[1]) if found else float("inf")


def _jwks_uri(metadata: Mapping[str, Any]) -> str:
    address = metadata.get("jwks_uri")
    if not isinstance(address, str):
        raise ValueError("no jwks_uri")
    return address


def _signing_key(jwk: Mapping[str, Any]) -> SigningKey | None:
    kid, n, e = jwk.get("kid"), jwk.get("n"), jwk.get("e")
    if jwk.get("kty") != "RSA" or jwk.get("use", "sig") != "sig":
        return None
    if not (isinstance(kid, str) and isinstance(n, str) and isinstance(e, str)):
        return None
    try:
        key = RSAAlgorithm.from_jwk({"kty": "RSA", "n": n, "e": e})
    except (InvalidKeyError, ValueError):
        return None
    if not isinstance(key, RSAPublicKey) or key.key_size not in RSA_BITS:
        return None
    return SigningKey(kid, key, _endorsements(jwk))


def _endorsements(jwk: Mapping[str, Any]) -> frozenset[str] | None:
    if "endorsements" not in jwk:
        return None
    listed = jwk["endorsements"]
    if not isinstance(listed, list):
        # What cannot be read endorses nothing rather than everything.
        return frozenset()
    return frozenset(name for name in listed if isinstance(name, str))
