"""A root for tests, and settings of its skills."""

from __future__ import annotations

from typing import Any

from skills_host import Root, Turn

__all__ = ["EXPECT_REPLIES", "Witness"]

EXPECT_REPLIES = {"delivery": "expectReplies"}


class Witness(Root):
    """A root that notes what its skills told it."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[tuple[str | None, str | None, Any]] = []
        self.events: list[tuple[str | None, str | None, Any]] = []
        self.on_end(self._ended)
        self.on_event()(self._event)

    async def _ended(self, turn: Turn) -> None:
        self.ends.append((turn.speaker, turn.activity.code, turn.activity.value))

    async def _event(self, turn: Turn) -> None:
        self.events.append((turn.speaker, turn.activity.name, turn.activity.value))
