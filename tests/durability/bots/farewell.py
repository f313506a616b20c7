"""A root whose code tells users that a skill has ended by itself."""

from __future__ import annotations

from skills_host import Root, Turn

__all__ = ["root"]

root = Root()


@root.on_end
async def bid(turn: Turn) -> None:
    """Say what the skill has ended with; nothing where the root has let it go."""
    if isinstance(turn.activity.value, dict):
        await turn.send(f"Bye: {turn.activity.value['done']}")
