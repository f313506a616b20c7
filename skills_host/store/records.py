"""What is remembered: versioned records, the changes that are written to them, and the `Store`.

A record is found by its kind and its key and holds bytes that only its owner can read; the store
knows no feature's words. What belongs together is one `write`: all of it is kept, or nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

__all__ = [
    "ANY",
    "NEW",
    "Append",
    "Change",
    "Check",
    "Delete",
    "Key",
    "Put",
    "Read",
    "Record",
    "Store",
    "check_unit",
    "element_key",
]

Key = tuple[str, str]
"""A kind and a key."""

ANY: Final = None
"""Expects nothing: the change is made whatever the version is."""

NEW: Final = 0
"""Expects that there is no such record, or that the stream is empty."""


@dataclass(frozen=True, slots=True)
class Record:
    """A stored value; `version` starts at 1 and grows by 1 with each `Put`.

    `expires` is in seconds since the epoch: from then on the record counts as absent. From `due`
    on it is nobody's work and may be claimed.
    """

    kind: str
    key: str
    version: int
    body: bytes = field(repr=False)
    owner: str = ""
    expires: float | None = None
    due: float | None = None


Read = Callable[[Iterable[Key]], Awaitable[Mapping[Key, Record]]]
"""Answers for keys as `Store.read` does; it may ask for more with the same question."""


@dataclass(frozen=True, slots=True)
class Put:
    """Writes a record whole if it is at version `expects`; `NEW` if it must not exist.

    From `due` on, in seconds since the epoch, the record may be claimed; None is never.
    """

    kind: str
    key: str
    body: bytes = field(repr=False)
    expects: int | None = ANY
    owner: str = ""
    expires: float | None = None
    due: float | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Removes a record if it is at version `expects`; an absent one is at version 0."""

    kind: str
    key: str
    expects: int | None = ANY


@dataclass(frozen=True, slots=True)
class Check:
    """Changes nothing; the unit is made only if the record is at version `expects`.

    With it, work on other records is fenced by the claim that it is done for.
    """

    kind: str
    key: str
    expects: int


@dataclass(frozen=True, slots=True)
class Append:
    """Adds an element to the stream `key` if the number of its last element is `expects`.

    The element becomes the record `element_key(key, n)` with n one more than the number of the
    last element that is kept; the first is 1. Where the last elements were deleted or have
    expired, their numbers are given again.
    """

    kind: str
    key: str
    body: bytes = field(repr=False)
    expects: int | None = ANY
    owner: str = ""
    expires: float | None = None


Change = Put | Delete | Check | Append


class Store(Protocol):
    """Where records are kept; the one who builds a store opens and closes it.

    Every method raises `StoreFailed` when the store cannot be used, is not open or was closed.
    """

    async def open(self) -> None:
        """Make the store usable; opening an open store does nothing."""
        ...

    async def close(self) -> None:
        """Finish what was accepted and let go; closing a closed store does nothing."""
        ...

    async def read(self, keys: Iterable[Key]) -> dict[Key, Record]:
        """The records of `keys` at one moment; absent and expired ones are missing."""
        ...

    async def scan(
        self, kind: str, prefix: str = "", *, after: str = "", limit: int
    ) -> list[Record]:
        """Up to `limit` records of a kind whose keys begin with `prefix`, by key in code points.

        Only keys strictly after `after`, which needs no record and is the last key of the page
        before; so a record with the empty key is never found. Expired records are left out and do
        not count. Raises `ValueError` for a negative limit and text that is not valid Unicode.
        """
        ...

    async def write(self, changes: Sequence[Change]) -> tuple[int, ...]:
        """Make all `changes` in one commit, or none; answers after the commit.

        Returns one number per change: the new version of a `Put`, 0 for a `Delete`, the version
        for a `Check`, the number of the new element for an `Append`. Raises `VersionConflict`
        where an expectation does not hold. A caller that is cancelled stops waiting; the changes
        are made nevertheless.
        """
        ...

    async def claim(self, kind: str, prefix: str = "", *, until: float, limit: int) -> list[Record]:
        """Take up to `limit` records of a kind, with keys that begin with `prefix`, that are due.

        Nobody else gets them before `until`. Each gets a new version, so that whoever had it
        before cannot write to it any more, nor anything that it `Check`s it with: the version is
        the fence of the lease. Those that are longest due are taken. What is done is written with
        a `due` of None, or deleted.
        """
        ...

    async def renew(self, records: Iterable[Record], *, until: float) -> list[Record]:
        """Keep claimed records until `until`; those that are still at the version they have here.

        A time that is past gives them back.
        """
        ...

    async def expire(self, now: float, limit: int) -> int:
        """Remove up to `limit` records that have expired at `now`; returns how many."""
        ...

    async def probe(self) -> None:
        """Raise `StoreFailed` unless the store can be both read and written."""
        ...


def element_key(stream: str, n: int) -> str:
    """The record key of element `n` of a stream; keys of one stream sort by number."""
    return f"{stream}/{n:012d}"


def check_unit(changes: Sequence[Change]) -> None:
    """Raise `ValueError` for changes that cannot be one unit: one key twice, text that is not
    valid Unicode."""
    named: set[Key] = set()
    for change in changes:
        if (change.kind, change.key) in named:
            raise ValueError(f"one unit changes the same {change.kind} record twice")
        named.add((change.kind, change.key))
        change.kind.encode()
        change.key.encode()
        if isinstance(change, Put | Append):
            change.owner.encode()
