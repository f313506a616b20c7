"""State as named properties, each with the version that the turn read.

A save writes only what the turn changed. Two turns that change different properties never
conflict; two that change the same one do, and the later is told before it does anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from skills_host.addressing import joined_key
from skills_host.store.records import NEW, Change, Delete, Put, Store
from skills_host.wire import decode, encode

__all__ = ["CALL", "KIND", "CallProperties", "Properties"]

CALL = "call"  # kind of the records whose versions count the calls of a session
KIND = "state"
MOST = 1000  # properties of a call that are looked through at its end


@dataclass(slots=True)
class _Property:
    version: int | None
    raw: bytes | None
    changed: bool = False
    until: float = 0.0


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
        found = _Property(NEW, None)
        if record is not None:
            found = _Property(record.version, record.body, until=record.expires or 0.0)
        return self._known.setdefault(name, found)

    def _change(self, name: str, raw: bytes | None) -> None:
        found = self._known.setdefault(name, _Property(None, None))
        found.raw, found.changed = raw, True

    def _written(self, name: str, found: _Property) -> Change:
        if found.raw is None:
            return Delete(KIND, self._key(name), expects=found.version)
        key, until = self._key(name), self._expires()
        return Put(KIND, key, found.raw, expects=found.version, expires=until)

    def _expires(self) -> float | None:
        """Until when a property is kept that is written now; None is for good."""
        return None

    def _key(self, name: str) -> str:
        return f"{self._scope}/{joined_key(name)}"


class CallProperties(Properties):
    """The properties of one call of a skill, from its begin to its end.

    They are forgotten with the end that the skill sends or is sent, and after `lifetime` seconds
    without use where there never was one. Calls of a session are counted, so that what a turn
    keeps that is still running at the end belongs to no later call.
    """

    def __init__(
        self, store: Store, session: str, *, now: Callable[[], float], lifetime: float
    ) -> None:
        super().__init__(store, "")
        self._session = session
        self._now = now
        self._began = now()
        self._lifetime = lifetime
        self._dropped: list[Change] = []
        self._has_ended = False

    async def located(self) -> None:
        """Find out which call it is, before anything is written; one read, and only if needed."""
        if not self._scope and self._known:
            await self._locate()

    async def get(self, name: str, default: Any = None) -> Any:
        """The property's value, or `default` if it was never set in this call."""
        await self._locate()
        return default if self._has_ended else await super().get(name, default)

    async def end(self) -> None:
        """Forget all of it when the turn saves, and what the turn still sets."""
        await self._locate()
        found = await self._store.scan(KIND, f"{self._scope}/", limit=MOST)
        if found or self._known:
            until = self._now() + self._lifetime
            self._dropped = [Delete(KIND, record.key) for record in found]
            ended = encode({"ended": self._now()})
            self._dropped.append(Put(CALL, self._session, ended, expires=until))
        self._known.clear()
        self._has_ended = True

    def changes(self) -> list[Change]:
        """What a save has to write."""
        return [*self._dropped, *([] if self._has_ended else super().changes())]

    def saved(self, changes: Sequence[Change], versions: Sequence[int]) -> None:
        """Take note that `changes` were written and what versions they have now."""
        self._dropped.clear()
        super().saved(changes, versions)

    async def _locate(self) -> None:
        if not self._scope:
            key = (CALL, self._session)
            record = (await self._store.read([key])).get(key)
            number = record.version if record is not None else 0
            self._scope = f"call/{self._session}/{number}"
            # A turn that an end has overtaken belongs to the call that is over.
            if record is not None and decode(record.body)["ended"] > self._began:
                self._has_ended = True

    async def _load(self, name: str) -> _Property:
        found = await super()._load(name)
        if found.raw is not None and not self._has_ended:
            # What is used is kept: written again, it lasts longer.
            found.changed = found.until < self._now() + self._lifetime / 2
        return found

    def _expires(self) -> float | None:
        return self._now() + self._lifetime
