"""A skill as a dialog of the root: begin, continue, reprompt, cancel, replace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace

from skills_host.activity import Activity
from skills_host.bot.channel import InvokeResponse
from skills_host.bot.turn import Turn
from skills_host.consumer.calls import OpenCalls
from skills_host.consumer.conversations import Conversations, SkillConversation
from skills_host.consumer.delivery import Deliveries, FloorChanged
from skills_host.consumer.hops import CallLoop
from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.said import REPROMPT, call_of, is_answer, mode_of
from skills_host.consumer.session import ActiveSkill, resumed, suspended
from skills_host.consumer.texts import RootTexts, filled
from skills_host.consumer.values import is_refused
from skills_host.errors import VersionConflict
from skills_host.settings import Delivery
from skills_host.store.records import Change

__all__ = ["SkillDialogs"]

ATTEMPTS = 3


class SkillDialogs:
    """The skills of one root as dialogs: at most one has the floor of a session."""

    def __init__(
        self,
        *,
        skills: Callable[[], Mapping[str, Skill]],
        conversations: Conversations,
        calls: OpenCalls,
        deliveries: Deliveries,
        texts: RootTexts,
        now: Callable[[], float],
    ) -> None:
        self._skills = skills
        self._conversations = conversations
        self._calls = calls
        self._deliveries = deliveries
        self._texts = texts
        self._now = now

    # What a root's code may do

    async def begin(
        self,
        turn: Turn,
        skill: str,
        activity: Activity | None = None,
        *,
        delivery: Delivery | None = None,
    ) -> InvokeResponse | None:
        """Give the floor to a skill and send it `activity`, by default the turn's own.

        An activity made on the spot gets the addresses, and what it lacks of id, locale and
        channel data, from the turn. A skill that has the floor is cancelled first. `delivery`,
        or the `deliveryMode` of such an activity, holds until the skill ends. The skill's
        response, if the activity is an invoke.

        `KeyError` for a skill that is not registered or begins nothing new, `ValueError` for an
        end: it begins nothing.
        """
        registered = self._skills()[skill]
        if registered.draining:
            raise KeyError(skill)
        outgoing = turn.activity if activity is None else turn.as_said(activity)
        if outgoing.type == "endOfConversation":
            raise ValueError("an end begins nothing; give the skill an activity of its own")
        if delivery is None and activity is not None:
            delivery = _delivery_of(activity)
        earlier = await turn.effects.called(skill, outgoing)
        if earlier is not None:
            # What has the floor now is what an earlier run has begun, or came after it.
            return await self._deliveries.go_on(turn, earlier, outgoing)
        for _ in range(ATTEMPTS):
            await self.cancel(turn)
            floor = await self._conversations.floor(turn.session)
            if floor.session.active is None:
                with suppress(FloorChanged):
                    return await self._deliveries.forward(
                        turn, registered, floor, outgoing, delivery=delivery
                    )
        raise VersionConflict("session", turn.session)

    async def replace(
        self,
        turn: Turn,
        skill: str,
        activity: Activity | None = None,
        *,
        delivery: Delivery | None = None,
    ) -> InvokeResponse | None:
        """Cancel the skill that has the floor and begin another."""
        return await self.begin(turn, skill, activity, delivery=delivery)

    async def switch(
        self,
        turn: Turn,
        skill: str,
        activity: Activity | None = None,
        *,
        tried: tuple[str, ...] = (),
    ) -> InvokeResponse | None:
        """Give the floor to a skill as routing does, and send it `activity`.

        A skill that may be suspended waits until that one ends, and is asked to reprompt then; any
        other is cancelled. A skill that waits already goes on where it was. `KeyError` for a skill
        that is not registered.
        """
        registered = self._skills()[skill]
        for _ in range(2 * ATTEMPTS):
            floor = await self._conversations.floor(turn.session)
            active = floor.session.active
            if active is not None and active.skill != skill:
                left = suspended(floor.session) if self._may_wait(active) else None
                if left is None:
                    await self.cancel(turn)
                    continue
                floor = replace(floor, session=left)
            with suppress(FloorChanged):
                return await self._deliveries.forward(
                    turn, registered, floor, activity, routed=True, tried=tried
                )
        raise VersionConflict("session", turn.session)

    def _may_wait(self, active: ActiveSkill) -> bool:
        skill = self._skills().get(active.skill)
        return skill is not None and skill.suspend

    async def suspend(self, turn: Turn) -> bool:
        """Let the skill that has the floor wait until `resume`; False if it cannot.

        None may have the floor and wait already: at most two have been begun and not ended.
        """
        for _ in range(ATTEMPTS):
            floor = await self._conversations.floor(turn.session)
            left = suspended(floor.session)
            if left is None:
                return False
            with suppress(VersionConflict):
                await turn.save([self._conversations.remembered(floor, left)])
                return True
        raise VersionConflict("session", turn.session)

    async def reprompt(self, turn: Turn) -> None:
        """Let the skill that has the floor ask its question again; nothing if none has."""
        await self._to_active(turn, Activity.make("event", name=REPROMPT))

    async def resume(self, turn: Turn) -> None:
        """Go back to the skill after something else was talked about: it asks again.

        One that waits gets the floor, if no skill has it.
        """
        for _ in range(ATTEMPTS):
            floor = await self._conversations.floor(turn.session)
            back = resumed(floor.session)
            if back is None:
                break
            with suppress(VersionConflict):
                await turn.save([self._conversations.remembered(floor, back)])
                break
        await self.reprompt(turn)

    async def send(self, turn: Turn, activity: Activity) -> InvokeResponse | None:
        """Send an activity of the root's own to the skill that has the floor.

        The skill's response, if the activity is an invoke; None if no skill has the floor.
        """
        return await self._to_active(turn, activity)

    async def cancel(self, turn: Turn, *, code: str = "userCancelled") -> ActiveSkill | None:
        """Take the floor from the skill that has it and tell it and the root's bot; which it was.

        The user is told nothing.
        """
        active = await self.let_go(turn, code=code)
        if active is not None:
            await self._deliveries.notices.synthetic_end(turn, active.skill, code)
        return active

    async def let_go(self, turn: Turn, *, code: str = "userCancelled") -> ActiveSkill | None:
        """Take the floor from the skill that has it and tell it so; which it was.

        Its handle is closed first, and a call that is open to it is given up.
        """
        key = turn.effects.next()
        earlier = await turn.effects.earlier(key)
        if earlier is not None:
            return ActiveSkill.of(earlier["cancelled"])
        active = (await self._conversations.floor(turn.session)).session.active
        if active is None:
            return None
        noted = turn.effects.record(key, {"cancelled": asdict(active)})
        closed = await self._conversations.end(turn.session, active.handle, also=[noted])
        if closed is None:
            return None
        self._calls.cancel(active.handle)
        skill = self._skills().get(active.skill)
        if skill is not None:
            self._deliveries.notices.tell_skill(turn, skill, closed, code=code)
        return active

    # What the root's turns do

    async def gone(self, turn: Turn, active: ActiveSkill) -> None:
        """Take the floor from a skill that is not registered any more, and say so."""
        closed = await self._conversations.end(turn.session, active.handle)
        skill = self._deliveries.notices.known(active.skill)
        if skill is not None and closed is not None:
            self._deliveries.notices.tell_skill(turn, skill, closed, code="channelFailed")
        title = active.skill if skill is None else skill.title
        await turn.send(filled(self._texts.unavailable, title=title))
        await self._deliveries.notices.synthetic_end(
            turn, active.skill, "channelFailed", climbs=True
        )

    async def aside(
        self, turn: Turn, skill: Skill, activity: Activity | None = None, *, handle: str = ""
    ) -> InvokeResponse | None:
        """Post what was routed to a skill without giving it the floor, by the same rules as in
        `Deliveries.forward`.

        In the conversation of `handle`, if that is still open; else in one for this alone.
        """
        activity = activity or turn.activity
        earlier = await turn.effects.called(skill.name, activity)
        if earlier is not None:
            return await self._deliveries.go_on(turn, earlier, activity)
        answers = is_answer(turn, activity, routed=True)
        if is_refused(skill, activity, turn=turn, answers=answers):
            return None
        try:
            async with self._deliveries.trails.on(activity, skill=skill, turn=turn):
                return await self._posted_aside(turn, skill, activity, handle)
        except CallLoop as exc:
            await self._deliveries.notices.refused(turn, skill, exc, answers=answers)
            return None

    async def _posted_aside(
        self, turn: Turn, skill: Skill, activity: Activity, handle: str
    ) -> InvokeResponse | None:
        conversation = None
        if handle:
            found = await self._conversations.resumed(turn.session, handle)
            conversation = found if found is not None and not found.closed else None
        is_new = conversation is None
        changes: list[Change] = []
        if conversation is None:
            conversation, changes = self._conversations.beside(skill, turn.place)
        call = call_of(turn, conversation, activity, now=self._now(), routed=True)
        mode = mode_of(skill, conversation.delivery, activity)
        await self._calls.relays.begin(turn, skill, call, changes, mode=mode)
        response = await self._deliveries.posted(turn, skill, conversation, call, activity)
        if is_new:
            await self.finish(turn, skill, conversation)
        return response

    async def finish(self, turn: Turn, skill: Skill, conversation: SkillConversation) -> None:
        """End a conversation that has done what it was for, if it is open, and tell its skill."""
        closed = await self._conversations.end(turn.session, conversation.handle)
        if closed is not None:
            self._deliveries.notices.tell_skill(turn, skill, closed, code="completedSuccessfully")

    async def _to_active(self, turn: Turn, activity: Activity) -> InvokeResponse | None:
        outgoing = turn.as_said(activity)
        earlier = await turn.effects.called("", outgoing)
        if earlier is not None:
            return await self._deliveries.go_on(turn, earlier, outgoing)
        for _ in range(ATTEMPTS):
            floor = await self._conversations.floor(turn.session)
            active = floor.session.active
            skill = self._skills().get(active.skill) if active else None
            if skill is None:
                return None
            with suppress(FloorChanged):
                return await self._deliveries.forward(turn, skill, floor, outgoing)
        raise VersionConflict("session", turn.session)


def _delivery_of(activity: Activity) -> Delivery | None:
    mode = activity.delivery_mode
    return Delivery(mode) if mode in list(Delivery) else None
