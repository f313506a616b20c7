"""`POST /api/messages`: where users' channels, and calling bots, reach a bot."""

from __future__ import annotations

from quart import Blueprint, Response

from skills_host.auth.verify import Door
from skills_host.bot.inbox import Inbox
from skills_host.web.guard import Guard, json_response

__all__ = ["messages"]


def messages(name: str, *, guard: Guard, inbox: Inbox, bot_app_id: str) -> Blueprint:
    """The door of the bot `name`."""
    door = Blueprint(f"messages-{name}", __name__)

    @door.post("/api/messages", endpoint="messages", provide_automatic_options=False)
    async def receive() -> Response:
        identity = await guard.admit(door=Door.MESSAGES, bot_app_id=bot_app_id, with_body=True)
        answer = await inbox.take(await guard.received(identity), identity)
        return json_response(answer.body, answer.status)

    return door
