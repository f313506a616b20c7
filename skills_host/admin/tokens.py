"""Admin tokens: 256 random bits that are shown once; the store has only their SHA-256.

A slow hash would add nothing: nobody guesses 256 bits. Who makes one, or revokes one, is in the
registry's audit trail: who may administer is part of who did what.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from hmac import compare_digest

from skills_host.auth.denials import Denied
from skills_host.consumer.registry.audit import HEAD
from skills_host.consumer.registry.ledger import Deed, Ledger
from skills_host.consumer.registry.records import Order, Role
from skills_host.errors import BadInput, VersionConflict
from skills_host.store.records import NEW, Put, Record, Store
from skills_host.wire import decode_as, encode

__all__ = ["PREFIX", "TOKEN", "AdminToken", "AdminTokens", "token_id"]

KIND = "admin-token"
PREFIX = "skh_"
"""How every admin token begins, so that scanners for secrets know one."""

TOKEN = re.compile(r"skh_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
NAME = re.compile(r"[A-Za-z0-9][\w.@+-]{0,63}")
KEPT = 30 * 24 * 3600.0  # seconds that one which has expired is still known as such
PAGE = 500
ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class AdminToken:
    """A token as it is stored: whose it is, what for, and how long; times in seconds.

    Several tokens of one name are one person's. `digest` is the SHA-256 of the whole token.
    """

    id: str
    name: str
    roles: tuple[Role, ...]
    created: float
    expires: float
    digest: str = field(repr=False)
    revoked: float | None = None

    def encode(self) -> bytes:
        """The token as it is stored, under its id."""
        return encode(self)

    @classmethod
    def parse(cls, record: Record) -> AdminToken:
        """The token from its record."""
        return decode_as(record.body, cls)

    def check(self, text: str, *, now: float) -> None:
        """Raise `Denied` unless this is its text, and it is good."""
        if not compare_digest(self.digest, sha256(text.encode()).hexdigest()):
            raise Denied("admin-token")
        if self.revoked is not None:
            raise Denied("admin-token-revoked", seen=self.id)
        if now >= self.expires:
            raise Denied("admin-token-expired", expected=f"before {self.expires:.0f}", seen=self.id)


def token_id(text: str) -> str:
    """The id in a token's text. Raises `Denied("admin-token")` for what is none."""
    match = TOKEN.fullmatch(text)
    if match is None:
        raise Denied("admin-token")
    return match[1]


class AdminTokens:
    """The tokens in a store, which every replica reads at each request: a revocation is at once."""

    def __init__(
        self, store: Store, *, now: Callable[[], float], random: Callable[[int], bytes]
    ) -> None:
        self._store = store
        self._ledger = Ledger(store, now=now)
        self._now = now
        self._random = random

    async def add(
        self, name: str, roles: frozenset[Role], *, seconds: float, order: Order
    ) -> tuple[AdminToken, str]:
        """Make a token; its text is nowhere else. Raises `BadInput` (`bad-id`) for the name."""
        if not NAME.fullmatch(name):
            raise BadInput("the name is not 1-64 letters, digits and _.@+-", code="bad-id")
        id = self._random(8).hex()
        secret = urlsafe_b64encode(self._random(32)).decode().rstrip("=")
        text = f"{PREFIX}{id}_{secret}"
        digest = sha256(text.encode()).hexdigest()
        now = self._now()
        made = AdminToken(id, name, tuple(sorted(roles)), now, now + seconds, digest)
        await self._commit("add-token", made, order, expects=NEW)
        return made, text

    async def known(self, text: str) -> AdminToken:
        """The token with this text. Raises `Denied` unless it is good now."""
        found = await self._read(token_id(text))
        if found is None:
            raise Denied("admin-token")
        token, _ = found
        token.check(text, now=self._now())
        return token

    async def all(self) -> list[AdminToken]:
        """Every token that is known, by name."""
        found: list[AdminToken] = []
        after = ""
        while page := await self._store.scan(KIND, after=after, limit=PAGE):
            found += map(AdminToken.parse, page)
            after = page[-1].key
        return sorted(found, key=lambda token: (token.name, token.created))

    async def revoke(self, id: str, *, order: Order) -> AdminToken | None:
        """Let a token not be good any more, from now on and everywhere; None if there is none."""
        found = await self._read(id)
        if found is None:
            return None
        token, version = found
        if token.revoked is None:
            token = replace(token, revoked=self._now())
            await self._commit("revoke-token", token, order, expects=version)
        return token

    async def _commit(self, verb: str, token: AdminToken, order: Order, *, expects: int) -> None:
        """Store a token with the entry that says what was done; nothing of its text is in there."""
        until = datetime.fromtimestamp(token.expires, UTC).isoformat(timespec="seconds")
        said = {
            "token": token.id,
            "name": token.name,
            "roles": ",".join(token.roles),
            "until": until,
        }
        deed = Deed(order.by.name, verb, reason=order.reason, details=said)
        change = Put(KIND, token.id, token.encode(), expects, expires=token.expires + KEPT)
        for _ in range(ATTEMPTS):
            head = await self._ledger.head()
            try:
                await self._ledger.commit(head, deed, [change])
                return
            except VersionConflict as exc:
                if exc.kind == KIND:
                    raise
        raise VersionConflict(*HEAD)

    async def _read(self, id: str) -> tuple[AdminToken, int] | None:
        record = (await self._store.read([(KIND, id)])).get((KIND, id))
        return None if record is None else (AdminToken.parse(record), record.version)
