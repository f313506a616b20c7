"""What a channel has taken from the bot in one conversation, in the order of arrival."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from skills_host.errors import SkillsHostError

__all__ = ["Entry", "Operation", "Transcript"]

Operation = Literal["send", "update", "delete"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One request of the bot: `number` counts from 1, `received` is in seconds since the epoch.

    `raw` is the body as it came, empty for a delete; `reply_to` is the activity that the address
    named, and `speaker` the skill that the host named as the author, if any.
    """

    number: int
    operation: Operation
    activity_id: str
    received: float
    raw: bytes = field(default=b"", repr=False)
    reply_to: str | None = None
    speaker: str | None = None

    @property
    def activity(self) -> dict[str, Any]:
        """The body as JSON; empty for a delete."""
        parsed: dict[str, Any] = json.loads(self.raw or b"{}")
        return parsed

    @property
    def text(self) -> str:
        """The activity's text, or nothing."""
        return str(self.activity.get("text") or "")


class Transcript:
    """The entries of one conversation; belongs to one event loop."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._present: set[str] = set()
        self._ids: dict[str, str] = {}
        self._arrived = asyncio.Condition()

    @property
    def entries(self) -> Sequence[Entry]:
        """Everything that arrived, oldest first."""
        return tuple(self._entries)

    @property
    def shown(self) -> Sequence[Entry]:
        """What the user sees now: sent activities as last updated, without the deleted ones."""
        seen: dict[str, Entry] = {}
        for entry in self._entries:
            if entry.operation == "delete":
                seen.pop(entry.activity_id, None)
            else:
                seen[entry.activity_id] = entry
        return tuple(seen.values())

    async def send(
        self,
        raw: bytes,
        *,
        activity_id: str,
        received: float,
        reply_to: str | None = None,
        speaker: str | None = None,
        key: str | None = None,
    ) -> str:
        """Add an activity and return its id; the same `key` adds nothing and returns the first."""
        async with self._arrived:
            if key is not None and key in self._ids:
                return self._ids[key]
            if key is not None:
                self._ids[key] = activity_id
            self._present.add(activity_id)
            self._append("send", activity_id, received, raw, reply_to=reply_to, speaker=speaker)
        return activity_id

    async def update(
        self, activity_id: str, raw: bytes, *, received: float, speaker: str | None = None
    ) -> None:
        """Replace an activity; `SkillsHostError` not-found if it was not sent or is deleted."""
        async with self._arrived:
            self._check(activity_id)
            self._append("update", activity_id, received, raw, speaker=speaker)

    async def delete(
        self, activity_id: str, *, received: float, speaker: str | None = None
    ) -> None:
        """Take an activity away; `SkillsHostError` not-found as in `update`."""
        async with self._arrived:
            self._check(activity_id)
            self._present.discard(activity_id)
            self._append("delete", activity_id, received, b"", speaker=speaker)

    async def next_entry(self, *, after: int) -> Entry:
        """The first entry whose number is greater than `after`, as soon as there is one."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self._entries) > after)
            return self._entries[after]

    def _check(self, activity_id: str) -> None:
        if activity_id not in self._present:
            raise SkillsHostError("the conversation has no such activity", code="not-found")

    def _append(
        self,
        operation: Operation,
        activity_id: str,
        received: float,
        raw: bytes,
        *,
        reply_to: str | None = None,
        speaker: str | None = None,
    ) -> None:
        number = len(self._entries) + 1
        self._entries.append(
            Entry(number, operation, activity_id, received, raw, reply_to, speaker)
        )
        self._arrived.notify_all()
