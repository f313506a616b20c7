"""Requests that are repeated with their `Idempotency-Key`: done once, answered alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from skills_host.errors import BadInput, SkillsHostError, VersionConflict
from skills_host.store.records import NEW, Delete, Put, Store
from skills_host.wire import decode_as, encode

__all__ = ["Answer", "Repetitions"]

KIND = "admin-idempotency"
REMEMBER = 24 * 3600.0
RUNNING = 120.0  # seconds after which one that was never answered is taken for dead


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered with; `body` is in `media`."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    media: str = "application/json"


@dataclass(frozen=True, slots=True)
class _Kept:
    """A request by its digest, and its answer once there is one."""

    request: str
    answer: Answer | None = None


class Repetitions:
    """The requests of the last day that came with a key, each of one caller."""

    def __init__(self, store: Store, *, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    async def once(
        self, caller: str, key: str, request: bytes, work: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """The answer of `work`, or that of the same request before; failures are not kept.

        Raises `BadInput` (`idempotency-reused`) and `SkillsHostError` (`idempotency-running`).
        """
        name = sha256(f"{len(caller)} {caller} {key}".encode()).hexdigest()
        digest = sha256(request).hexdigest()
        version = await self._begun(name, digest)
        if isinstance(version, Answer):
            return version
        try:
            answer = await work()
        except BaseException:
            await self._store.write([Delete(KIND, name)])
            raise
        await self._store.write(
            [self._put(name, _Kept(digest, answer), expects=version, seconds=REMEMBER)]
        )
        return answer

    async def _begun(self, name: str, digest: str) -> Answer | int:
        record = (await self._store.read([(KIND, name)])).get((KIND, name))
        if record is None:
            try:
                put = self._put(name, _Kept(digest), expects=NEW, seconds=RUNNING)
                return (await self._store.write([put]))[0]
            except VersionConflict:
                raise SkillsHostError(code="idempotency-running") from None
        kept = decode_as(record.body, _Kept)
        if kept.request != digest:
            raise BadInput(code="idempotency-reused")
        if kept.answer is None:
            raise SkillsHostError(code="idempotency-running")
        return kept.answer

    def _put(self, name: str, kept: _Kept, *, expects: int, seconds: float) -> Put:
        return Put(KIND, name, encode(kept), expects, expires=self._now() + seconds)
