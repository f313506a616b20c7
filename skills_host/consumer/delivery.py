"""One activity to a skill: posted, its answers heard, its failure told, gone on with after a crash.

Session, handle and state are saved before a skill is posted to, and nothing is held while the POST
is open: callbacks, an end among them, come meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

from skills_host.activity import Activity
from skills_host.addressing import addressed_to_skill
from skills_host.bot.channel import InvokeResponse, invoke_response_of
from skills_host.bot.effects import Call
from skills_host.bot.handlers import Bot
from skills_host.bot.turn import Turn
from skills_host.consumer.calls import OpenCalls
from skills_host.consumer.client import SkillClient, log_failure
from skills_host.consumer.conversations import Conversations, Floor, SkillConversation
from skills_host.consumer.hops import CallLoop, Trails
from skills_host.consumer.notices import Notices
from skills_host.consumer.policy import is_for_bot
from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.replay import kept
from skills_host.consumer.routing.context import without_context
from skills_host.consumer.said import (
    END_CODES,
    REPROMPT,
    Heard,
    answered_before,
    call_of,
    is_answer,
    is_decline,
    may_repeat,
    mode_of,
    response_of,
)
from skills_host.consumer.sso import Intercept, dealt_with
from skills_host.consumer.telling import SkillEnd
from skills_host.consumer.values import admitted, is_refused
from skills_host.errors import SkillFailed, VersionConflict
from skills_host.settings import Delivery

__all__ = ["Declines", "Deliveries", "FloorChanged"]

log = logging.getLogger(__name__)

TELLING = 300.0  # seconds after which others tell of an end that came upon a turn without a lease

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
        skills: Callable[[], Mapping[str, Skill]],
        conversations: Conversations,
        client: SkillClient,
        calls: OpenCalls,
        notices: Notices,
        host_url: str,
        now: Callable[[], float],
        trails: Trails,
        intercept: Callable[[], Intercept | None] = lambda: None,
    ) -> None:
        self._bot = bot
        self._skills = skills
        self._conversations = conversations
        self._client = client
        self.calls = calls
        self.notices = notices
        self._host_url = host_url
        self._now = now
        self.trails = trails
        self._intercept = intercept
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
            await self.notices.refused(turn, skill, exc, answers=answers)
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

    async def go_on(self, turn: Turn, call: Call, activity: Activity) -> InvokeResponse | None:
        """Go on with a call that an earlier run of the turn has begun.

        An end that was this turn's to tell of is told. The skill is posted to again only if it
        takes the same activity once. Otherwise nobody knows whether it got it, unless it has
        answered since: then the user is told.
        """
        turn.effects.resumed(call)
        turn.note_posted(activity)
        await turn.answer_again(call.answered)
        skill = self._skills().get(call.skill)
        conversation = await self._conversations.resumed(turn.session, call.handle)
        if conversation is not None and conversation.closed:
            await self._ended_before(turn, conversation, call, activity)
        if call.done:
            return answered_before(turn, call)
        if skill is None or conversation is None or conversation.closed:
            return None
        if may_repeat(skill, activity):
            return await self.posted(turn, skill, conversation, call, activity)
        await self._lost(turn, conversation, call)
        return None

    async def _ended_before(
        self, turn: Turn, conversation: SkillConversation, call: Call, activity: Activity
    ) -> None:
        """Go on with the end of a call that an earlier run of the turn has come upon."""
        telling = conversation.telling
        if telling.by != turn.key:
            # What the user says next comes after what follows from it.
            await self._conversations.all_told(conversation)
            return
        if telling.call != call.key:
            return
        skill = self.notices.known(call.skill)
        if telling.end is not None:
            await self._ended_by(turn, conversation, telling.end.activity)
        elif skill is not None and call.failed:
            if is_answer(turn, activity, routed=call.routed):
                turn.respond(502)
            await self._failure_told(turn, skill, conversation, call.failed)

    async def catch_up(self, turn: Turn) -> None:
        """See to the last call of an earlier run, if this one did not come to it: code that goes
        by the state that it has saved may go another way then."""
        last = max(await turn.effects.calls(), key=lambda call: call.number, default=None)
        if last is None or turn.effects.has_gone_on(last):
            return
        turn.effects.resumed(last)
        conversation = await self._conversations.resumed(turn.session, last.handle)
        if conversation is not None and conversation.closed:
            await self._ended_before(turn, conversation, last, turn.activity)
        elif conversation is not None and not last.done:
            await self._lost(turn, conversation, last)

    async def _lost(self, turn: Turn, conversation: SkillConversation, call: Call) -> None:
        """Nobody knows what came of a call; unless the skill has spoken, the user is told so."""
        skill = self._skills().get(call.skill)
        has_spoken = await self._conversations.spoken.has_been(call.handle, since=call.since)
        if skill is not None and not has_spoken:
            failure = SkillFailed(code="interrupted")
            await self._failed(turn, skill, conversation, call, failure)

    async def ended(self, turn: Turn, conversation: SkillConversation) -> None:
        """Do what follows from an end that a skill has sent: the root's bot is told.

        What a skill declines goes to another one instead, and a skill that waited asks again.
        """
        if self.declines is not None and is_decline(turn.activity):
            if await self.declines(turn, conversation):
                return
        await self.notices.end(turn)
        await self.back(turn, conversation)

    async def ended_by_host(self, turn: Turn, conversation: SkillConversation) -> None:
        """Do what follows from an end that the host has made: everybody is told."""
        await self.notices.host_end(turn, conversation)
        await self.back(turn, conversation)

    async def back(self, turn: Turn, conversation: SkillConversation) -> None:
        """Let the skill that has the floor again after an end ask, if nobody spoke to it yet."""
        telling = conversation.telling
        skill = self._skills().get(telling.resumes)
        if skill is None:
            return
        asks = turn.as_said(Activity.make("event", name=REPROMPT))
        earlier = await turn.effects.called(skill.name, asks)
        if earlier is not None:
            await self.go_on(turn, earlier, asks)
            return
        floor = await self._conversations.floor(turn.session)
        active = floor.session.active
        if active and (active.skill, active.turns) == (skill.name, telling.turns):
            with suppress(FloorChanged):
                await self.forward(turn, skill, floor, asks)

    async def intercepted(
        self, turn: Turn, conversation: SkillConversation, activity: Activity
    ) -> bool:
        """True if the root's hook dealt with an OAuth card, so that the user need not see it."""
        return await dealt_with(self._intercept(), turn, activity, speaker=conversation.skill)

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
        given = None if response is None else (response.status, response.body)
        answered = turn.answered if heard.end is not None else call.answered
        done = turn.effects.ended(call, given, answered=answered)
        await self._ended_with(turn, conversation, done, heard)
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

    async def _ended_with(
        self, turn: Turn, conversation: SkillConversation, call: Call, heard: Heard
    ) -> None:
        if heard.end is None:
            return
        ended = await self._end(turn, conversation, call, SkillEnd(heard.end))
        if ended is not None:
            await self._ended_by(turn, ended, heard.end)

    async def _ended_by(self, turn: Turn, conversation: SkillConversation, end: Activity) -> None:
        """Do what follows from an end that came in an answer; noted when the turn ends."""
        async with self._telling(turn, conversation):
            with turn.about(end, conversation.skill):
                await self.ended(turn, conversation)

    async def _end(
        self, turn: Turn, conversation: SkillConversation, call: Call, end: SkillEnd | None
    ) -> SkillConversation | None:
        """End a conversation that this turn has come upon the end of, as long as it has the turn.

        Nobody else takes up what is not leased: after a while, others may tell of such an end.
        """
        try:
            return await self._conversations.end(
                turn.session,
                conversation.handle,
                also=[turn.effects.begun(call), *turn.fence],
                end=end,
                by=turn.key,
                call=call.key,
                due=None if turn.is_leased else self._now() + TELLING,
            )
        except VersionConflict as exc:
            turn.check_lease(exc)
            raise

    @asynccontextmanager
    async def _telling(self, turn: Turn, conversation: SkillConversation) -> AsyncIterator[None]:
        """Notes then that all are told: with the turn's last commit, if there surely is one."""
        failed = True
        try:
            yield
            failed = False
        finally:
            if turn.is_leased:
                turn.keep([self._conversations.told(conversation, asks=failed)])
            else:
                await self._conversations.note_told(conversation, asks=failed)

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
        failed = turn.effects.failed(call, code)
        ended = await self._end(turn, conversation, failed, None)
        if ended is None:
            return
        await self._failure_told(turn, skill, ended, code)

    async def _failure_told(
        self, turn: Turn, skill: Skill, conversation: SkillConversation, code: str
    ) -> None:
        if code != "channelFailed":
            self.notices.tell_skill(turn, skill, conversation, code=code)
        async with self._telling(turn, conversation):
            await self.notices.failure(turn, skill, code)
            await self.back(turn, conversation)
