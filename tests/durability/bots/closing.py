"""A skill that is done with each message: it says so, and ends with what it heard."""

from __future__ import annotations

from skills_host import Bot, Turn

__all__ = ["bot"]

bot = Bot()


@bot.on_message
async def close(turn: Turn) -> None:
    """Say what is done, and end with it."""
    await turn.send(f"Done: {turn.text}")
    await turn.end({"done": turn.text})
