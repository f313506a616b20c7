"""What is stored of activities that may carry credentials: nothing that can be read without the
host's keys."""

from __future__ import annotations

from skills_host.errors import StoreFailed
from skills_host.store.seal import Keys

__all__ = ["Sealing", "is_sealed"]

MARK = b"\x01"  # no JSON begins with it


class Sealing:
    """Seals with the host's keys, for one `purpose`, what concerns activities named in `names`.

    `signin/*` means all names that begin so.
    """

    def __init__(self, keys: Keys, names: tuple[str, ...], *, purpose: bytes) -> None:
        self._keys = keys
        self._names = names
        self._purpose = purpose

    def closed(self, key: str, body: bytes, *names: str | None) -> bytes:
        """`body` as the record `key` holds it; sealed if one of the activities' names is listed."""
        if not any(is_sealed(name or "", self._names) for name in names):
            return body
        return MARK + self._keys.seal(self._purpose, body, about=key.encode())

    def opened(self, key: str, body: bytes) -> bytes:
        """What the record `key` held before; `StoreFailed` if it was sealed with other keys."""
        if not body.startswith(MARK):
            return body
        try:
            return self._keys.unseal(self._purpose, body[1:], about=key.encode())
        except ValueError:
            raise StoreFailed("a sealed record cannot be read: host.keys has changed") from None


def is_sealed(name: str, listed: tuple[str, ...]) -> bool:
    """True if an activity's name is on the list; `signin/*` stands for all that begin so. Pure."""
    return any(
        name.startswith(entry[:-1]) if entry.endswith("*") else name == entry for entry in listed
    )
