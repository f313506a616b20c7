"""One activity to a skill: posted, its answers heard, its failure told, gone on with after a crash.

Session, handle and state are saved before a skill is posted to, and nothing is held while the POST
is open: callbacks, an end among them, come meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from skills_host.activity import Activity
from skills_host.addressing import addressed_to_skill, end_of_conversation, received_in
from skills_host.bot.channel import InvokeResponse, invoke_response_of
from skills_host.bot.effects import Call, mark_of
from skills_host.bot.handlers import Bot
from skills_host.bot.tasks import Tasks
from skills_host.bot.turn import Turn
from skills_host.consumer.calls import OpenCalls
from skills_host.consumer.client import SkillAnswer, SkillClient
from skills_host.consumer.conversations import Conversations, Floor, SkillConversation
from skills_host.consumer.hops import CallLoop, Passing, Trails
from skills_host.consumer.policy import is_for_bot
from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.sso import Intercept, oauth_card_of
from skills_host.consumer.texts import RootTexts, ended_text, filled
from skills_host.consumer.values import admitted, checked_response, is_refused
from skills_host.errors import SkillFailed, SkillsHostError, VersionConflict
from skills_host.settings import Delivery, Retry

__all__ = ["Deliveries", "FloorChanged"]

log = logging.getLogger(__name__)

_END_CODES = {
    "deadline": "botTimedOut",
    "interrupted": "interrupted",
    "call-loop": "callLoop",
    "too-many-hops": "tooManyHops",
}
# What a skill answers that is at another address, or has another list, than its settings say.
MISCONFIGURED = frozenset({401, 403, 404, 405, 415})


class FloorChanged(Exception):
    """The floor changed between reading and taking it; nothing was done."""


@dataclass(slots=True)
class _Heard:
    """What came back while a skill was posted to; the end is acted upon when all is said.

    `answers_turn` if the response to what was posted is the response to the turn's own invoke.
    """

    answers_turn: bool
    end: Activity | None = None
    response: InvokeResponse | None = None


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
        self._calls = calls
        self._tasks = tasks
        self._host_url = host_url
        self._now = now
        self._trails = trails
        self._intercept = intercept
        self._passing = Passing()
        self._former = former

    async def forward(
        self,
        turn: Turn,
        skill: Skill,
        floor: Floor,
        activity: Activity | None = None,
        *,
        delivery: Delivery | None = None,
        routed: bool = False,
    ) -> InvokeResponse | None:
        """Post an activity, by default the turn's own, to the skill, which has the floor then.

        `routed` if nothing but routing decided so. The response, if it is an invoke that was
        answered; the turn's own is answered with it. Raises `FloorChanged` before anything was
        sent. Where bots call each other in a circle, or too many have passed it on, nothing is
        posted: the user is told, and the caller gets an end.
        """
        activity = activity or turn.activity
        earlier = await turn.effects.called(skill.name, activity)
        if earlier is not None:
            return await self.go_on(turn, earlier, activity)
        if is_refused(skill, activity, turn=turn):
            return None
        try:
            await self._trails.check_turn(turn, skill.app_id)
            with self._passing.on(activity, skill=skill.name, turn=turn):
                return await self._forwarded(turn, skill, floor, activity, delivery, routed)
        except CallLoop as exc:
            await self._refused(turn, skill, floor, activity, exc)
            return None

    async def _forwarded(
        self,
        turn: Turn,
        skill: Skill,
        floor: Floor,
        activity: Activity,
        delivery: Delivery | None,
        routed: bool,
    ) -> InvokeResponse | None:
        conversation, changes = self._conversations.given(
            floor, skill, turn.place, delivery=delivery
        )
        call = Call(
            turn.effects.next(),
            skill.name,
            conversation.handle,
            mark_of(activity),
            since=self._now(),
            routed=routed,
        )
        try:
            # In one write with the state that the turn changed.
            await turn.save([*changes, turn.effects.begun(call)])
        except VersionConflict as exc:
            raise FloorChanged from exc
        return await self._posted(turn, skill, conversation, call, activity)

    async def _refused(
        self, turn: Turn, skill: Skill, floor: Floor, activity: Activity, loop: CallLoop
    ) -> None:
        """Tell everybody that an activity does not go on."""
        log.error("nothing is passed on to skill %s: %s", skill.name, loop.code)
        active = floor.session.active
        if active is not None:
            await self._conversations.end(turn.session, active.handle)
        if activity is turn.activity and activity.type == "invoke":
            turn.respond(loop.status)
        text = filled(self._texts.looped, title=skill.title)
        await self._ended_for_all(turn, text, skill.name, _END_CODES[loop.code])
        if not turn.has_ended:
            # Whatever the root's bot made of it: else the caller would pass on the next word too.
            await turn.end(code=_END_CODES[loop.code])

    async def go_on(self, turn: Turn, call: Call, activity: Activity) -> InvokeResponse | None:
        """Go on with a call that an earlier run of the turn has begun.

        The skill is posted to again only if it takes the same activity once. Otherwise nobody
        knows whether it got it, unless it has answered since: then the user is told.
        """
        turn.effects.resumed(call)
        skill = self._skills().get(call.skill)
        conversation = await self._conversations.resumed(turn.session, call.handle)
        if call.done:
            return None if call.response is None else InvokeResponse(*call.response)
        if skill is not None and call.failed:
            await self._told_of(turn, skill, call.failed)
        elif skill is not None and conversation is not None:
            if skill.retry is Retry.SAFE:
                return await self._posted(turn, skill, conversation, call, activity)
            if not await self._conversations.has_spoken(call.handle, since=call.since):
                failure = SkillFailed(code="interrupted")
                await self._failed(turn, skill, conversation, call, failure)
        return None

    async def ended(self, turn: Turn) -> None:
        """Tell the root's bot that a skill is done, and the user if so configured.

        A root that is itself a skill, and has no code for ends, passes the end on to its caller.
        """
        handled = await self._bot.handled(turn)
        skill = self._skills().get(turn.speaker or "")
        if skill is not None and skill.texts.ended:
            await turn.send(skill.texts.ended)
        if not handled:
            await _pass_on(turn)

    async def synthetic_end(
        self, turn: Turn, skill: str, code: str, *, climbs: bool = False
    ) -> None:
        """The end that a skill did not send, as the root's bot gets to see it.

        If it `climbs`, it is passed on as in `ended`.
        """
        with turn.about(end_of_conversation(code=code), skill):
            if not await self._bot.handled(turn) and climbs:
                await _pass_on(turn)

    async def intercepted(
        self, turn: Turn, conversation: SkillConversation, activity: Activity
    ) -> bool:
        """True if the root's hook dealt with an OAuth card, so that the user need not see it.

        A hook that fails has not dealt with it.
        """
        intercept = self._intercept()
        if intercept is None or oauth_card_of(activity) is None:
            return False
        try:
            with turn.about(activity, conversation.skill):
                return await intercept(turn, turn.activity)
        except Exception as exc:
            log.exception("the hook on OAuth cards failed: %s", type(exc).__name__)
            return False

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

    async def _posted(
        self,
        turn: Turn,
        skill: Skill,
        conversation: SkillConversation,
        call: Call,
        activity: Activity,
    ) -> InvokeResponse | None:
        mode = _mode(skill, conversation.delivery, activity)
        outgoing = addressed_to_skill(
            activity,
            conversation_id=conversation.handle,
            service_url=self._host_url,
            delivery_mode=None if mode is Delivery.NORMAL else mode,
        )
        turn.note_posted(activity)
        is_invoke = activity.type == "invoke"
        heard = _Heard(answers_turn=is_invoke and activity is turn.activity)

        async def hear(reply: Activity) -> None:
            if (fit := admitted(skill, reply)) is not None:
                await self._heard(turn, conversation, fit, heard)

        post = partial(
            self._client.post,
            skill,
            outgoing,
            conversation_id=conversation.handle,
            key=call.key,
            hops=self._trails.longer(turn.hops, skill.app_id),
        )
        try:
            answer = await self._calls.run(
                conversation.handle, lambda said: post(heard=said), heard=hear
            )
        except SkillFailed as exc:
            if heard.answers_turn and turn.invoke_response is None:
                turn.respond(502)
            await self._failed(turn, skill, conversation, call, exc)
            return None
        for reply in answer.replies:
            await hear(reply)
        response = _response(turn, skill, activity, answer, heard) if is_invoke else None
        await self._ended_with(turn, conversation, heard)
        given = None if response is None else (response.status, response.body)
        turn.effects.ended(call, given)
        return response

    async def _heard(
        self, turn: Turn, conversation: SkillConversation, reply: Activity, heard: _Heard
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
                await self._bot.handled(turn)
            elif not await self.intercepted(turn, conversation, reply):
                await turn.relay(reply, reply_to_id=turn.reference.activity_id)

    async def _ended_with(self, turn: Turn, conversation: SkillConversation, heard: _Heard) -> None:
        end = heard.end
        if end is not None and await self._conversations.end(turn.session, conversation.handle):
            with turn.about(end, conversation.skill):
                await self.ended(turn)

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
        if failure.answered in MISCONFIGURED:
            log.error(
                "skill %s: check its endpoint and its list of callers: %s", skill.name, failure
            )
        else:
            log.warning("skill %s failed: %s (%s)", skill.name, failure.code, failure)
        code = _END_CODES.get(failure.code, "channelFailed")
        failed = turn.effects.begun(replace(call, failed=code))
        ended = await self._conversations.end(turn.session, conversation.handle, also=[failed])
        if ended is None:
            return
        if code != "channelFailed":
            self.tell_skill(turn, skill, conversation, code=code)
        await self._told_of(turn, skill, code)

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

    async def _told_of(self, turn: Turn, skill: Skill, code: str) -> None:
        """Tell the user and the root's bot that a skill cannot be used."""
        text = skill.texts.unavailable or self._texts.unavailable
        if code == "interrupted":
            text = skill.texts.interrupted or self._texts.interrupted
        await self._ended_for_all(turn, filled(text, title=skill.title), skill.name, code)

    async def _ended_for_all(self, turn: Turn, text: str, skill: str, code: str) -> None:
        """Tell the user and the root's bot of an end; the bot, even if the user cannot be told."""
        try:
            await turn.send(text)
        except SkillsHostError:
            await self.synthetic_end(turn, skill, code, climbs=True)
            # A turn that fails forgets what it changed, and this it must not.
            await turn.save()
            raise
        await self.synthetic_end(turn, skill, code, climbs=True)

    async def _told(self, skill: Skill, end: Activity, handle: str) -> None:
        try:
            await self._client.post(skill, end, conversation_id=handle)
        except SkillsHostError as exc:
            log.warning("skill %s was not told of its end: %s", skill.name, exc.code)


def _mode(skill: Skill, chosen: Delivery | None, activity: Activity) -> Delivery:
    """How the answers to this activity come back; only in an answer can an invoke's be seen."""
    mode = chosen or skill.delivery
    return skill.invoke_delivery if mode is Delivery.NORMAL and activity.type == "invoke" else mode


def _response(
    turn: Turn, skill: Skill, activity: Activity, answer: SkillAnswer, heard: _Heard
) -> InvokeResponse:
    """The response to an invoke that was posted; that of the turn's own becomes the turn's."""
    given = turn.invoke_response if heard.answers_turn else heard.response
    given = given or InvokeResponse(answer.status, answer.body)
    response = checked_response(skill, activity, given)
    if heard.answers_turn:
        turn.invoke_response = response
    return response


async def _pass_on(turn: Turn) -> None:
    """Tell the caller of a root that is itself a skill about an end that nobody handled."""
    end = turn.activity
    await turn.end(end.value, code=end.code or "completedSuccessfully", text=end.text)
