"""A root bot that tells the user how each skill ended."""

from __future__ import annotations

import json

from skills_host import Root, Turn

__all__ = ["root"]

root = Root()


@root.on_end
async def ended(turn: Turn) -> None:
    """Say the end's value and code."""
    value = json.dumps(turn.activity.value)
    await turn.send(f"Skill ended: {value} ({turn.activity.code})")
