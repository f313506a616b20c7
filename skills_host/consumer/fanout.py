"""Several skills asked at once: their answers in order, and at most one that keeps the floor."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from skills_host.activity import Activity
from skills_host.addressing import addressed_to_skill
from skills_host.bot.turn import Turn
from skills_host.consumer.client import SkillClient
from skills_host.consumer.conversation import Floor, SkillConversation
from skills_host.consumer.conversations import Conversations
from skills_host.consumer.delivery import Deliveries
from skills_host.consumer.dialog import SkillDialogs
from skills_host.consumer.hops import CallLoop
from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.said import is_decline
from skills_host.consumer.values import admitted, is_refused
from skills_host.errors import BadInput, SkillFailed
from skills_host.settings import Delivery

__all__ = ["FanOut", "Question"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """What one of several skills is asked."""

    skill: Skill
    activity: Activity


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question with its key, in the conversation that was opened for it."""

    skill: Skill
    conversation: SkillConversation
    activity: Activity
    key: str


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
        self, turn: Turn, floor: Floor, questions: Sequence[Question]
    ) -> list[str] | None:
        """Ask the skills and say what they answer, in their order; the names of those that did.

        The first that answers and does not end has the floor then; all others are ended. A skill
        that must not get what it would be asked, as in `Deliveries.forward`, is left out; where
        none is left, everybody is told as there, and the result is None.
        """
        # A run after a crash asks with the same keys, whoever is left out then.
        keys = {question.skill.name: turn.effects.next() for question in questions}
        async with AsyncExitStack() as passing:
            allowed, loop = await self._allowed(turn, questions, passing)
            if loop is not None and not allowed:
                await self._deliveries.notices.refused(
                    turn, questions[0].skill, loop, answers=False
                )
                return None
            opened = [self._conversations.beside(one.skill, turn.place) for one in allowed]
            await turn.save([change for _, changes in opened for change in changes])
            asked = [
                _Asked(one.skill, conversation, one.activity, keys[one.skill.name])
                for one, (conversation, _) in zip(allowed, opened, strict=True)
            ]
            answers = await asyncio.gather(*(self._answers(turn, one) for one in asked))
            return await self._said(turn, floor, asked, answers)

    async def _allowed(
        self, turn: Turn, questions: Sequence[Question], passing: AsyncExitStack
    ) -> tuple[list[Question], CallLoop | None]:
        """The questions that may be asked, and why one may not, if bots would go in circles."""
        allowed, loop = [], None
        for question in questions:
            on = self._deliveries.trails.on(question.activity, skill=question.skill, turn=turn)
            try:
                is_refused(question.skill, question.activity, turn=turn, answers=False)
                await passing.enter_async_context(on)
                allowed.append(question)
            except CallLoop as exc:
                log.error("skill %s is not asked: %s", question.skill.name, exc.code)
                loop = exc
            except BadInput as exc:
                log.warning("skill %s is not asked: %s", question.skill.name, exc.code)
        return allowed, loop

    async def _said(
        self,
        turn: Turn,
        floor: Floor,
        asked: Sequence[_Asked],
        answers: Sequence[Sequence[Activity]],
    ) -> list[str]:
        heard: list[str] = []
        keeper = ""
        for one, replies in zip(asked, answers, strict=True):
            skill, conversation = one.skill, one.conversation
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

    async def _answers(self, turn: Turn, one: _Asked) -> list[Activity]:
        handle = one.conversation.handle
        outgoing = addressed_to_skill(
            one.activity,
            conversation_id=handle,
            service_url=self._host_url,
            delivery_mode=Delivery.EXPECT_REPLIES,
        )
        hops = self._deliveries.trails.longer(turn.hops, one.skill.app_id)
        try:
            async with asyncio.timeout(self._seconds(one.skill)):
                answer = await self._client.post(
                    one.skill, outgoing, conversation_id=handle, key=one.key, hops=hops
                )
        except (SkillFailed, TimeoutError):
            # The others answer for it.
            return []
        return list(filter(None, (admitted(one.skill, reply) for reply in answer.replies)))
