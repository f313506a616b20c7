"""What a callback from a skill does: the root's side of the Connector REST API."""

from __future__ import annotations

from collections.abc import Callable

from skills_host.activity import Activity
from skills_host.addressing import received_in
from skills_host.auth.claims import Identity
from skills_host.bot.adapter import Adapter
from skills_host.bot.handlers import Handler
from skills_host.bot.inbox import Tasks
from skills_host.bot.turn import Turn
from skills_host.consumer.conversations import Conversations, SkillConversation
from skills_host.errors import UnknownConversation

__all__ = ["SkillHost", "is_for_bot"]


def is_for_bot(activity: Activity) -> bool:
    """True for what a skill says to the root's bot and not to the user. Pure."""
    if activity.type in ("command", "commandResult"):
        return not (activity.name or "").startswith("application/")
    return activity.type == "event"


class SkillHost:
    """Acts for one root as the channel of its skills.

    Each call is checked against the conversation's owner first; what it does runs in a task of
    the host, so that a skill that hangs up neither stops nor repeats it. Callbacks never enter a
    lane: they come while the turn that caused them is open.
    """

    def __init__(
        self,
        adapter: Adapter,
        *,
        conversations: Conversations,
        tasks: Tasks,
        ended: Handler,
        new_id: Callable[[], str],
    ) -> None:
        self._adapter = adapter
        self._conversations = conversations
        self._tasks = tasks
        self._ended = ended
        self._new_id = new_id

    async def send(
        self, handle: str, activity: Activity, identity: Identity, *, reply_to_id: str | None = None
    ) -> str:
        """An activity from a skill; the id that it may update or delete it by.

        An end closes the conversation first and is told to the root's bot; an event, or a command
        of its own, is for the root's bot alone; everything else goes to the user.
        """
        conversation = await self._conversations.find(handle, identity)
        sent: str = await self._tasks.finish(
            self._sent(conversation, activity, identity, reply_to_id)
        )
        return sent or self._new_id()

    async def update(
        self, handle: str, activity_id: str, activity: Activity, identity: Identity
    ) -> str:
        """Replace what the skill sent; the route's id counts, not the body's."""
        conversation = await self._conversations.find(handle, identity)
        updated = activity_id

        async def update(turn: Turn) -> None:
            nonlocal updated
            updated = await turn.update(activity_id, activity) or activity_id

        await self._tasks.finish(self._turn(conversation, update, identity))
        return updated

    async def delete(self, handle: str, activity_id: str, identity: Identity) -> None:
        """Take back what the skill sent."""
        conversation = await self._conversations.find(handle, identity)

        async def delete(turn: Turn) -> None:
            await turn.delete(activity_id)

        await self._tasks.finish(self._turn(conversation, delete, identity))

    async def _sent(
        self,
        conversation: SkillConversation,
        activity: Activity,
        identity: Identity,
        reply_to_id: str | None,
    ) -> str:
        sent = ""

        async def relay(turn: Turn) -> None:
            nonlocal sent
            answers = reply_to_id or conversation.place.reference.activity_id
            sent = await turn.relay(activity, reply_to_id=answers)

        if activity.type == "endOfConversation":
            await self._end(conversation, activity, identity)
        elif is_for_bot(activity):
            await self._turn(conversation, self._to_bot, identity, activity)
        else:
            await self._turn(conversation, relay, identity)
        return sent

    async def _end(
        self, conversation: SkillConversation, activity: Activity, identity: Identity
    ) -> None:
        place = conversation.place
        if await self._conversations.end(place.session, conversation.handle) is None:
            raise UnknownConversation(code="conversation-ended")
        await self._turn(conversation, self._ended, identity, activity)

    async def _to_bot(self, turn: Turn) -> None:
        await self._adapter.bot.handled(turn)

    async def _turn(
        self,
        conversation: SkillConversation,
        run: Handler,
        identity: Identity,
        activity: Activity | None = None,
    ) -> None:
        reference = conversation.place.reference
        await self._adapter.continue_conversation(
            conversation.place,
            run,
            identity=identity,
            activity=None if activity is None else received_in(activity, reference),
            speaker=conversation.skill,
            # What the root's bot does wrong is not the skill's to know.
            guarded=activity is not None,
        )
