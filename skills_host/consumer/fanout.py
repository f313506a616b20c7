"""Several skills asked at once: their answers in order, and at most one that keeps the floor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from skills_host.activity import Activity
from skills_host.addressing import addressed_to_skill
from skills_host.bot.turn import Turn
from skills_host.consumer.client import SkillClient
from skills_host.consumer.conversation import Floor, SkillConversation
from skills_host.consumer.conversations import Conversations
from skills_host.consumer.delivery import Deliveries
from skills_host.consumer.dialog import SkillDialogs
from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.said import is_decline
from skills_host.errors import SkillFailed
from skills_host.settings import Delivery

__all__ = ["FanOut"]


class FanOut:
    """Asks skills that say that being asked has no side effects; they answer in the answer.

    A turn that runs again asks them again, with the same keys.
    """

    def __init__(
        self,
        *,
        conversations: Conversations,
        client: SkillClient,
        deliveries: Deliveries,
        dialogs: SkillDialogs,
        host_url: str,
        seconds: Callable[[Skill], float],
    ) -> None:
        self._conversations = conversations
        self._client = client
        self._deliveries = deliveries
        self._dialogs = dialogs
        self._host_url = host_url
        self._seconds = seconds

    async def ask(
        self, turn: Turn, floor: Floor, skills: Sequence[Skill], activity: Activity
    ) -> list[str]:
        """Ask the skills and say what they answer, in their order; the names of those that did.

        The first that answers and does not end has the floor then; all others are ended.
        """
        opened = [self._conversations.beside(skill, turn.place) for skill in skills]
        keys = [turn.effects.next() for _ in skills]
        await turn.save([change for _, changes in opened for change in changes])
        conversations = [conversation for conversation, _ in opened]
        asked = [
            self._asked(skill, conversation, activity, key)
            for skill, conversation, key in zip(skills, conversations, keys, strict=True)
        ]
        heard: list[str] = []
        keeper = ""
        for skill, conversation, replies in zip(
            skills, conversations, await asyncio.gather(*asked), strict=True
        ):
            end = next((reply for reply in replies if reply.type == "endOfConversation"), None)
            said = [reply for reply in replies if reply.type != "endOfConversation"]
            if said and (end is None or not is_decline(end)):
                heard.append(skill.name)
                await self._deliveries.passed_on(turn, conversation, said)
            if not keeper and said and end is None:
                took = await self._conversations.take(floor, conversation)
                keeper = skill.name if took else ""
            if keeper != skill.name:
                await self._over(turn, skill, conversation, ended=end is not None)
        return heard

    async def _over(
        self, turn: Turn, skill: Skill, conversation: SkillConversation, *, ended: bool
    ) -> None:
        if ended:
            await self._conversations.end(turn.session, conversation.handle)
        else:
            await self._dialogs.finish(turn, skill, conversation)

    async def _asked(
        self, skill: Skill, conversation: SkillConversation, activity: Activity, key: str
    ) -> tuple[Activity, ...]:
        outgoing = addressed_to_skill(
            activity,
            conversation_id=conversation.handle,
            service_url=self._host_url,
            delivery_mode=Delivery.EXPECT_REPLIES,
        )
        try:
            async with asyncio.timeout(self._seconds(skill)):
                answer = await self._client.post(
                    skill, outgoing, conversation_id=conversation.handle, key=key
                )
        except (SkillFailed, TimeoutError):
            # The others answer for it.
            return ()
        return answer.replies
