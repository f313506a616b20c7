"""State as named properties, each with the version that the turn read.

A save writes only what the turn changed. Two turns that change different properties never
conflict; two that change the same one do, and the later is told before it does anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skills_host.addressing import joined_key
from skills_host.store.records import NEW, Change, Delete, Put, Store
from skills_host.wire import decode, encode

__all__ = ["KIND", "Properties"]

KIND = "state"


@dataclass(slots=True)
class _Property:
    version: int | None
    raw: bytes | None
    changed: bool = False


class Properties:
    """The named properties of one scope, as one turn sees them.

    Values are JSON: what `get` returns is a copy, and only `set` changes what is stored.
    """

    def __init__(self, store: Store, scope: str) -> None:
        self._store = store
        self._scope = scope
        self._known: dict[str, _Property] = {}

    async def get(self, name: str, default: Any = None) -> Any:
        """The property's value, or `default` if it was never set."""
        found = self._known.get(name)
        if found is None:
            found = await self._load(name)
        return default if found.raw is None else decode(found.raw)

    def set(self, name: str, value: Any) -> None:
        """Set the property; stored when the turn saves."""
        self._change(name, encode(value))

    def delete(self, name: str) -> None:
        """Forget the property; stored when the turn saves."""
        self._change(name, None)

    def changes(self) -> list[Change]:
        """What a save has to write: each changed property with the version it was read at."""
        return [self._written(name, found) for name, found in self._known.items() if found.changed]

    def saved(self, changes: Sequence[Change], versions: Sequence[int]) -> None:
        """Take note that `changes` were written and what versions they have now."""
        by_key = {self._key(name): found for name, found in self._known.items()}
        for change, version in zip(changes, versions, strict=True):
            found = by_key.get(change.key) if change.kind == KIND else None
            if found is not None:
                # What was set while the write was under way is still to be written.
                found.changed = found.raw != (change.body if isinstance(change, Put) else None)
                found.version = version

    def forget(self) -> None:
        """Drop what was read and changed, so that a conflict is not written after all."""
        self._known.clear()

    async def _load(self, name: str) -> _Property:
        key = (KIND, self._key(name))
        record = (await self._store.read([key])).get(key)
        found = _Property(NEW, None) if record is None else _Property(record.version, record.body)
        return self._known.setdefault(name, found)

    def _change(self, name: str, raw: bytes | None) -> None:
        found = self._known.setdefault(name, _Property(None, None))
        found.raw, found.changed = raw, True

    def _written(self, name: str, found: _Property) -> Change:
        if found.raw is None:
            return Delete(KIND, self._key(name), expects=found.version)
        return Put(KIND, self._key(name), found.raw, expects=found.version)

    def _key(self, name: str) -> str:
        return f"{self._scope}/{joined_key(name)}"
