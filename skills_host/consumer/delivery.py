"""One activity to a skill: posted, its answers heard, its failure told, gone on with after a crash.

Session, handle and state are saved before a skill is posted to, and nothing is held while the POST
is open: callbacks, an end among them, come meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from skills_host.activity import Activity
from skills_host.addressing import addressed_to_skill, end_of_conversation, received_in
from skills_host.bot.channel import InvokeResponse, invoke_response_of
from skills_host.bot.effects import Call
from skills_host.bot.handlers import Bot
from skills_host.bot.tasks import Tasks
from skills_host.bot.turn import Turn
from skills_host.consumer.calls import OpenCalls
from skills_host.consumer.client import SkillClient, log_failure
from skills_host.consumer.conversations import Conversations, Floor, SkillConversation
from skills_host.consumer.hops import CallLoop, Trails
from skills_host.consumer.policy import is_for_bot
from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.replay import kept
from skills_host.consumer.routing.context import without_context
from skills_host.consumer.said import (
    END_CODES,
    Heard,
    call_of,
    is_answer,
    is_decline,
    mode_of,
    pass_on,
    response_of,
)
from skills_host.consumer.sso import Intercept, dealt_with
from skills_host.consumer.texts import RootTexts, ended_text, filled
from skills_host.consumer.values import admitted, is_refused
from skills_host.errors import SkillFailed, SkillsHostError, VersionConflict
from skills_host.settings import Delivery, Retry

__all__ = ["Declines", "Deliveries", "FloorChanged"]

log = logging.getLogger(__name__)

Declines = Callable[[Turn, SkillConversation], Awaitable[bool]]
"""Finds another skill for what one has declined; False if there is nothing to find one for."""


class FloorChanged(Exception):
    """The floor changed between reading and taking it; nothing was done."""


class Deliveries:
    """The deliveries of one root to its skills, and what comes of each."""

    def __init__(
        self,
        bot: Bot,
        *,
        texts: RootTexts,
        skills: Callable[[], Mapping[str, Skill]],
        conversations: Conversations,
        client: SkillClient,
        calls: OpenCalls,
        tasks: Tasks,
        host_url: str,
        now: Callable[[], float],
        trails: Trails,
        intercept: Callable[[], Intercept | None] = lambda: None,
        former: Callable[[str], Skill | None] = lambda name: None,
    ) -> None:
        self._bot = bot
        self._texts = texts
        self._skills = skills
        self._conversations = conversations
        self._client = client
        self.calls = calls
        self._tasks = tasks
        self._host_url = host_url
        self._now = now
        self.trails = trails
        self._intercept = intercept
        self._former = former
        self.declines: Declines | None = None

    async def forward(
        self,
        turn: Turn,
        skill: Skill,
        floor: Floor,
        activity: Activity | None = None,
        *,
        delivery: Delivery | None = None,
        routed: bool = False,
        tried: tuple[str, ...] = (),
    ) -> InvokeResponse | None:
        """Post an activity, by default the turn's own, to the skill, which has the floor then.

        `routed` if nothing but routing decided so, after other skills have `tried`. The response,
        if it is an invoke that was answered; the turn's own is answered with it. Raises
        `FloorChanged` before anything was sent. Where bots call each other in a circle, or too many
        have passed it on, nothing is posted: the user is told, and the caller gets an end.
        """
        activity = activity or turn.activity
        earlier = await turn.effects.called(skill.name, activity)
        if earlier is not None:
            return await self.go_on(turn, earlier, activity)
        answers = is_answer(turn, activity, routed=routed)
        if is_refused(skill, activity, turn=turn, answers=answers):
            return None
        try:
            async with self.trails.on(activity, skill=skill, turn=turn):
                return await self._forwarded(turn, skill, floor, activity, delivery, routed, tried)
        except CallLoop as exc:
            if floor.session.active is not None:
                await self._conversations.end(turn.session, floor.session.active.handle)
            await self.refused(turn, skill, exc, answers=answers)
            return None

    async def _forwarded(
        self,
        turn: Turn,
        skill: Skill,
        floor: Floor,
        activity: Activity,
        delivery: Delivery | None,
        routed: bool,
        tried: tuple[str, ...],
    ) -> InvokeResponse | None:
        conversation, changes = self._conversations.given(
            floor, skill, turn.place, delivery=delivery, said=kept(activity), tried=tried
        )
        call = call_of(turn, conversation, activity, now=self._now(), routed=routed)
        mode = mode_of(skill, conversation.delivery, activity)
        try:
            # In one write with the state that the turn changed.
            await self.calls.relays.begin(turn, skill, call, changes, mode=mode)
        except VersionConflict as exc:
            raise FloorChanged from exc
        return await self.posted(turn, skill, conversation, call, activity)

    async def refused(self, turn: Turn, skill: Skill, loop: CallLoop, *, answers: bool) -> None:
        """Tell everybody that what came does not go on to a skill.

        The caller, only where no other skill has the floor: that one has nothing to do with it.
        """
        log.error("nothing is passed on to skill %s: %s", skill.name, loop.code)
        if answers:
            turn.respond(loop.status)
        is_over = (await self._conversations.floor(turn.session)).session.active is None
        text, code = filled(self._texts.looped, title=skill.title), END_CODES[loop.code]
        await self._ended_for_all(turn, text, skill.name, code, climbs=is_over)
        if is_over and not turn.has_ended:
            # Whatever the root's bot made of it: else the caller would pass on the next word too.
            await turn.end(code=code)

    async def go_on(self, turn: Turn, call: Call, activity: Activity) -> InvokeResponse | None:
        """Go on with a call that an earlier run of the turn has begun.

        The skill is posted to again only if it takes the same activity once. Otherwise nobody
        knows whether it got it, unless it has answered since: then the user is told.
        """
        turn.effects.resumed(call)
        skill = self._skills().get(call.skill)
        conversation = await self._conversations.resumed(turn.session, call.handle)
        if conversation is None and self.declines is not None:
            declined = await self._conversations.declined(turn.place, call.handle)
            if declined is not None:
                await self.declines(turn, declined)
                return None
        if call.done:
            return None if call.response is None else InvokeResponse(*call.response)
        if skill is not None and call.failed:
            await self._told_of(turn, skill, call.failed)
        elif skill is not None and conversation is not None:
            if skill.retry is Retry.SAFE:
                return await self.posted(turn, skill, conversation, call, activity)
            if not await self._conversations.has_spoken(call.handle, since=call.since):
                failure = SkillFailed(code="interrupted")
                await self._failed(turn, skill, conversation, call, failure)
        return None

    async def ended(self, turn: Turn, conversation: SkillConversation) -> None:
        """Tell the root's bot that a skill is done, and the user if so configured.

        A root that is itself a skill, and has no code for ends, passes the end on to its caller.
        What a skill declines goes to another one instead, and a skill that waited asks again.
        """
        if self.declines is not None and is_decline(turn.activity):
            if await self.declines(turn, conversation):
                return
        await self._told_end(turn)
        await self.back(turn, conversation)

    async def back(self, turn: Turn, conversation: SkillConversation) -> None:
        """Let the skill that has the floor again after an end ask, if nobody spoke to it yet."""
        skill = self._skills().get(conversation.resumes)
        if skill is None:
            return
        floor = await self._conversations.floor(turn.session)
        active = floor.session.active
        if active and (active.skill, active.turns) == (skill.name, conversation.turns):
            with suppress(FloorChanged):
                asks = turn.as_said(Activity.make("event", name="repromptDialog"))
                await self.forward(turn, skill, floor, asks)
        await self._conversations.all_told(conversation)

    async def _told_end(self, turn: Turn) -> None:
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

    async def intercepted(
        self, turn: Turn, conversation: SkillConversation, activity: Activity
    ) -> bool:
        """True if the root's hook dealt with an OAuth card, so that the user need not see it."""
        return await dealt_with(self._intercept(), turn, activity, speaker=conversation.skill)

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

    async def posted(
        self,
        turn: Turn,
        skill: Skill,
        conversation: SkillConversation,
        call: Call,
        activity: Activity,
    ) -> InvokeResponse | None:
        mode = mode_of(skill, conversation.delivery, activity)
        # What came with the turn is not for its sender to tell a skill.
        outgoing = addressed_to_skill(
            without_context(activity, turn.activity),
            conversation_id=conversation.handle,
            service_url=self._host_url,
            delivery_mode=None if mode is Delivery.NORMAL else mode,
        )
        turn.note_posted(activity)
        is_invoke = activity.type == "invoke"
        heard = Heard(answers_turn=is_answer(turn, activity, routed=call.routed))

        async def hear(reply: Activity) -> None:
            if (fit := admitted(skill, reply)) is not None:
                await self._heard(turn, conversation, fit, heard)

        post = partial(
            self._client.post,
            skill,
            outgoing,
            conversation_id=conversation.handle,
            key=call.key,
            hops=self.trails.longer(turn.hops, skill.app_id),
        )
        async with self.calls.relays.during(turn, skill, call, mode=mode) as relay:
            try:
                answer = await self.calls.run(
                    call.handle, lambda said: post(heard=said), heard=relay.each(hear)
                )
            except SkillFailed as exc:
                if heard.answers_turn and turn.invoke_response is None:
                    turn.respond(502)
                await self._failed(turn, skill, conversation, call, exc)
                return None
            await relay.passed_on(answer.replies, hear)
        response = response_of(turn, skill, activity, answer, heard) if is_invoke else None
        await self._ended_with(turn, conversation, heard)
        given = None if response is None else (response.status, response.body)
        turn.effects.ended(call, given)
        return response

    async def passed_on(
        self, turn: Turn, conversation: SkillConversation, replies: Sequence[Activity]
    ) -> None:
        """Pass on what a skill has answered, but an end and the response to an invoke."""
        for reply in replies:
            await self._heard(turn, conversation, reply, Heard(answers_turn=False))

    async def _heard(
        self, turn: Turn, conversation: SkillConversation, reply: Activity, heard: Heard
    ) -> None:
        """Pass on one reply that came with the answer; an end in the middle stops nothing."""
        if reply.type == "endOfConversation":
            heard.end = heard.end or reply
            return
        if reply.type == "invokeResponse" and not heard.answers_turn:
            heard.response = heard.response or invoke_response_of(reply.value)
            return
        with turn.about(reply, conversation.skill):
            if is_for_bot(reply):
                await self.calls.relays.let_go(conversation.handle)
                await self._bot.handled(turn)
            elif not await self.intercepted(turn, conversation, reply):
                sent = await turn.relay(reply, reply_to_id=turn.reference.activity_id)
                turn.keep(self._conversations.shown(conversation, reply, sent))

    async def _ended_with(self, turn: Turn, conversation: SkillConversation, heard: Heard) -> None:
        end = heard.end
        if end is None:
            return
        ended = await self._conversations.end(
            turn.session, conversation.handle, asks=True, declines=is_decline(end)
        )
        if ended is not None:
            with turn.about(end, conversation.skill):
                await self.ended(turn, ended)

    async def _failed(
        self,
        turn: Turn,
        skill: Skill,
        conversation: SkillConversation,
        call: Call,
        failure: SkillFailed,
    ) -> None:
        """Take the floor from a skill that cannot be used, and say so."""
        # Whoever cancelled the call has told the user.
        if failure.code == "skill-cancelled":
            return
        log_failure(skill, failure)
        code = END_CODES.get(failure.code, "channelFailed")
        failed = turn.effects.begun(replace(call, failed=code))
        ended = await self._conversations.end(
            turn.session, conversation.handle, also=[failed], asks=True
        )
        if ended is None:
            return
        if code != "channelFailed":
            self.tell_skill(turn, skill, conversation, code=code)
        await self._told_of(turn, skill, code)
        await self.back(turn, ended)

    def known(self, name: str) -> Skill | None:
        """A skill, also one that may not be used any more: it can still be told of an end."""
        return self._skills().get(name) or self._former(name)

    async def tell_end(self, turn: Turn, *, conversation: SkillConversation, code: str) -> None:
        """Tell the skill, the user and the root's bot of an end that the host has made."""
        skill = self.known(conversation.skill)
        title = conversation.skill if skill is None else skill.title
        text = ended_text(self._texts, skill, code)
        if skill is not None:
            self.tell_skill(turn, skill, conversation, code=code)
        await self._ended_for_all(turn, filled(text, title=title), conversation.skill, code)
        await self.back(turn, conversation)

    async def _told_of(self, turn: Turn, skill: Skill, code: str) -> None:
        """Tell the user and the root's bot that a skill cannot be used."""
        text = skill.texts.unavailable or self._texts.unavailable
        if code == "interrupted":
            text = skill.texts.interrupted or self._texts.interrupted
        await self._ended_for_all(turn, filled(text, title=skill.title), skill.name, code)

    async def _ended_for_all(
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
