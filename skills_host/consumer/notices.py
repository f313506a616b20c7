"""Who is told of the end of a conversation with a skill: the skill, the user, the root's bot."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from skills_host.activity import Activity
from skills_host.addressing import addressed_to_skill, end_of_conversation, received_in
from skills_host.bot.handlers import Bot
from skills_host.bot.tasks import Tasks
from skills_host.bot.turn import Turn
from skills_host.consumer.client import SkillClient
from skills_host.consumer.conversations import Conversations, SkillConversation
from skills_host.consumer.hops import CallLoop
from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.said import END_CODES, pass_on
from skills_host.consumer.texts import RootTexts, ended_text, filled
from skills_host.errors import SkillsHostError

__all__ = ["Notices"]

log = logging.getLogger(__name__)


class Notices:
    """What one root says of the ends of its skills; `former` are those that may not be used any
    more: they can still be told of an end."""

    def __init__(
        self,
        bot: Bot,
        *,
        texts: RootTexts,
        skills: Callable[[], Mapping[str, Skill]],
        conversations: Conversations,
        client: SkillClient,
        tasks: Tasks,
        host_url: str,
        former: Callable[[str], Skill | None] = lambda name: None,
    ) -> None:
        self._bot = bot
        self._texts = texts
        self._skills = skills
        self._conversations = conversations
        self._client = client
        self._tasks = tasks
        self._host_url = host_url
        self._former = former

    def known(self, name: str) -> Skill | None:
        """A skill, also one that may not be used any more."""
        return self._skills().get(name) or self._former(name)

    async def end(self, turn: Turn) -> None:
        """Tell the root's bot of an end that a skill has sent, and the user if so configured.

        A root that is itself a skill, and has no code for ends, passes it on to its caller.
        """
        handled = await self._bot.handled(turn)
        skill = self._skills().get(turn.speaker or "")
        if skill is not None and skill.texts.ended:
            await turn.send(skill.texts.ended)
        if not handled:
            await pass_on(turn)

    async def synthetic_end(
        self, turn: Turn, skill: str, code: str, *, climbs: bool = False
    ) -> None:
        """The end that a skill did not send, for the root's bot; if it `climbs`, as in `ended`."""
        with turn.about(end_of_conversation(code=code), skill):
            if not await self._bot.handled(turn) and climbs:
                await pass_on(turn)

    def tell_skill(
        self, turn: Turn, skill: Skill, conversation: SkillConversation, *, code: str
    ) -> None:
        """Send the skill an end, in a task of the host: nobody waits for a skill that is let go."""
        # Agents SDK skills refuse an end without the addresses of its sender.
        end = received_in(end_of_conversation(code=code), turn.reference).with_raw(
            {"channelData": turn.activity.raw("channelData")}
        )
        outgoing = addressed_to_skill(
            end, conversation_id=conversation.handle, service_url=self._host_url
        )
        self._tasks.follow(self._told(skill, outgoing, conversation.handle))

    async def host_end(self, turn: Turn, conversation: SkillConversation) -> None:
        """Tell the skill, the user and the root's bot of an end that the host has made."""
        code = conversation.ending
        skill = self.known(conversation.skill)
        title = conversation.skill if skill is None else skill.title
        text = ended_text(self._texts, skill, code)
        if skill is not None:
            self.tell_skill(turn, skill, conversation, code=code)
        await self.for_all(turn, filled(text, title=title), conversation.skill, code)

    async def refused(self, turn: Turn, skill: Skill, loop: CallLoop, *, answers: bool) -> None:
        """Tell everybody that what came does not go on to a skill.

        The caller, only where no other skill has the floor: that one has nothing to do with it.
        """
        log.error("nothing is passed on to skill %s: %s", skill.name, loop.code)
        if answers:
            turn.respond(loop.status)
        is_over = (await self._conversations.floor(turn.session)).session.active is None
        text, code = filled(self._texts.looped, title=skill.title), END_CODES[loop.code]
        await self.for_all(turn, text, skill.name, code, climbs=is_over)
        if is_over and not turn.has_ended:
            # Whatever the root's bot made of it: else the caller would pass on the next word too.
            await turn.end(code=code)

    async def failure(self, turn: Turn, skill: Skill, code: str) -> None:
        """Tell the user and the root's bot that a skill cannot be used."""
        text = skill.texts.unavailable or self._texts.unavailable
        if code == "interrupted":
            text = skill.texts.interrupted or self._texts.interrupted
        await self.for_all(turn, filled(text, title=skill.title), skill.name, code)

    async def for_all(
        self, turn: Turn, text: str, skill: str, code: str, *, climbs: bool = True
    ) -> None:
        """Tell the user and the root's bot of an end; the bot, even if the user cannot be told."""
        try:
            await turn.send(text)
        except SkillsHostError:
            await self.synthetic_end(turn, skill, code, climbs=climbs)
            # A turn that fails forgets what it changed, and this it must not.
            await turn.save()
            raise
        await self.synthetic_end(turn, skill, code, climbs=climbs)

    async def _told(self, skill: Skill, end: Activity, handle: str) -> None:
        try:
            await self._client.post(skill, end, conversation_id=handle)
        except SkillsHostError as exc:
            log.warning("skill %s was not told of its end: %s", skill.name, exc.code)
