"""The host's keys: what makes its handles, and later its tickets and stored credentials, its own.

The first key signs and all verify, so that a key is replaced by putting a new one before it.
Nothing is signed with a key itself: every purpose has a subkey of its own.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from skills_host.errors import SettingsError, StoreFailed, VersionConflict
from skills_host.store.records import NEW, Put, Store

__all__ = ["KEY_BYTES", "HostKey", "Keys", "keys_of"]

KEY_BYTES = 32
NONCE_BYTES = 12
STORED = ("host", "keys")


@dataclass(frozen=True, slots=True, repr=False)
class HostKey:
    """One secret of 32 bytes; `ValueError` for any other length."""

    secret: bytes
    # HKDF takes longer than all else in the check of a handle.
    _subkeys: dict[bytes, bytes] = field(default_factory=dict, init=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"a host key has {KEY_BYTES} bytes")

    def __repr__(self) -> str:
        return "HostKey(...)"

    @property
    def id(self) -> int:
        """One byte that names the key in what it signed; several keys may share it."""
        return hashlib.sha256(b"skills-host key id\0" + self.secret).digest()[0]

    def derive(self, purpose: bytes) -> bytes:
        """The subkey of 32 bytes for one purpose (HKDF-SHA256), kept from the first use on.

        A purpose is a constant of the code, never a caller's value: all of them are kept.
        """
        if (kept := self._subkeys.get(purpose)) is not None:
            return kept
        info = b"skills-host\0" + purpose
        kdf = HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=info)
        return self._subkeys.setdefault(purpose, kdf.derive(self.secret))

    def mac(self, purpose: bytes, data: bytes, length: int) -> bytes:
        """The first `length` (at most 32) bytes of HMAC-SHA256 over `data`, under the subkey."""
        return hmac.digest(self.derive(purpose), data, "sha256")[:length]


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """The host's keys, the signing one first; `ValueError` without any."""

    all: tuple[HostKey, ...]

    def __post_init__(self) -> None:
        if not self.all:
            raise ValueError("a host has at least one key")

    def __repr__(self) -> str:
        return "Keys(...)"

    @classmethod
    def generate(cls, *, random: Callable[[int], bytes] = secrets.token_bytes) -> Self:
        """One new key of `random` bytes."""
        return cls((HostKey(random(KEY_BYTES)),))

    @classmethod
    def from_base64(cls, texts: Sequence[str]) -> Self:
        """Keys from base64 or base64url, padded or not; `SettingsError` names `host.keys`."""
        if not texts:
            raise SettingsError("host.keys: at least one key is needed")
        return cls(tuple(HostKey(_decoded(text)) for text in texts))

    def to_base64(self) -> list[str]:
        """The texts that `from_base64` reads: the secrets themselves."""
        return [base64.b64encode(key.secret).decode("ascii") for key in self.all]

    @property
    def current(self) -> HostKey:
        """The key that signs."""
        return self.all[0]

    def with_id(self, key_id: int) -> tuple[HostKey, ...]:
        """Every key that has this id; all of them are to be tried."""
        return tuple(key for key in self.all if key.id == key_id)

    def derive(self, purpose: bytes) -> bytes:
        """The current key's subkey for one purpose."""
        return self.current.derive(purpose)

    def seal(self, purpose: bytes, data: bytes, *, about: bytes) -> bytes:
        """`data`, encrypted with AES-256-GCM under the current key's subkey for one purpose.

        Only `unseal` with the same purpose and `about` reads it. The bytes are the key's id, a
        random nonce of 12, and the encrypted data with its tag of 16.
        """
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = AESGCM(self.current.derive(purpose)).encrypt(nonce, data, about)
        return bytes([self.current.id]) + nonce + sealed

    def unseal(self, purpose: bytes, sealed: bytes, *, about: bytes) -> bytes:
        """The data that was sealed; `ValueError` if no key of the host opens it."""
        nonce, encrypted = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        for key in self.with_id(sealed[0]) if encrypted else ():
            with contextlib.suppress(InvalidTag):
                return AESGCM(key.derive(purpose)).decrypt(nonce, encrypted, about)
        raise ValueError("no key of this host opens it")

    def mac(self, purpose: bytes, data: bytes, length: int) -> bytes:
        """The current key's `mac`."""
        return self.current.mac(purpose, data, length)


async def keys_of(
    store: Store, configured: Sequence[str], *, generate: Callable[[], Keys] = Keys.generate
) -> Keys:
    """The configured keys, or those that were made once and are kept in the store.

    Processes that start at once on one store get the same keys. Raises `SettingsError` for a
    malformed setting and `StoreFailed` for a store that cannot be used.
    """
    if configured:
        return Keys.from_base64(configured)
    if (kept := await _kept(store)) is not None:
        return kept
    made = generate()
    try:
        await store.write([Put(*STORED, "\n".join(made.to_base64()).encode(), expects=NEW)])
    except VersionConflict:
        kept = await _kept(store)
        if kept is None:
            raise StoreFailed("the host's keys were removed from the store") from None
        return kept
    return made


async def _kept(store: Store) -> Keys | None:
    record = (await store.read([STORED])).get(STORED)
    if record is None:
        return None
    try:
        return Keys.from_base64(record.body.decode("ascii").split())
    except (SettingsError, UnicodeDecodeError):
        raise StoreFailed("the host's keys in the store are damaged") from None


def _decoded(text: str) -> bytes:
    plain = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        secret = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise SettingsError("host.keys: a key is not base64") from None
    if len(secret) != KEY_BYTES:
        raise SettingsError(f"host.keys: a key has {KEY_BYTES} bytes")
    return secret
