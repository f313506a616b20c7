"""A root bot that tells the user how each skill ended, and of its events."""

from __future__ import annotations

import json

from skills_host import Root, Turn

__all__ = ["root"]

root = Root()


@root.on_end
async def ended(turn: Turn) -> None:
    """Say the end's value and code."""
    await turn.send(f"Skill ended: {value_of(turn)} ({turn.activity.code})")


@root.on_event("pong")
async def ponged(turn: Turn) -> None:
    """Say what the event is."""
    await turn.send(f"Skill event: {turn.activity.name} {value_of(turn)}")


def value_of(turn: Turn) -> str:
    """The value of the turn's activity as JSON without spaces."""
    return json.dumps(turn.activity.value, separators=(",", ":"))
