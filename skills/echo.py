"""Echo: says what it hears, counts it, and ends with the count when it hears “end”."""

from __future__ import annotations

from skills_host import Bot, Turn

__all__ = ["bot"]

bot = Bot()


@bot.on_message("end", "stop")
async def end(turn: Turn) -> None:
    """End with how many messages were echoed."""
    count = await turn.state.get("count", 0)
    turn.state.delete("count")
    await turn.send(f"Goodbye after {count} messages.")
    await turn.end({"echoed": count})


@bot.on_message
async def echo(turn: Turn) -> None:
    """Echo the text."""
    turn.state.set("count", 1 + await turn.state.get("count", 0))
    await turn.send(f"Echo: {turn.text}")


@bot.on_end
async def forget(turn: Turn) -> None:
    """The root stops this skill."""
    turn.state.delete("count")
