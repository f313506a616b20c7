"""What follows from a route decision: a skill gets the words, or the root says something."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from skills_host.activity import Activity
from skills_host.bot.turn import Turn
from skills_host.consumer.conversations import Card, Conversations, Floor
from skills_host.consumer.delivery import Deliveries, FloorChanged
from skills_host.consumer.dialog import SkillDialogs
from skills_host.consumer.fanout import FanOut, Question
from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.replay import kept, said_again
from skills_host.consumer.root import Root
from skills_host.consumer.routing.context import with_context
from skills_host.consumer.routing.decision import RouteDecision, RouteKind
from skills_host.consumer.routing.grants import asker_of, is_granted
from skills_host.consumer.routing.route import CHOICES
from skills_host.consumer.session import Pending, asked
from skills_host.consumer.texts import filled, introduced
from skills_host.errors import VersionConflict
from skills_host.routing_settings import ContextPart

__all__ = ["Routes"]


@dataclass(frozen=True, slots=True)
class _Taken:
    """A decision that is being carried out: `again` are words of before, to skills but those that
    have `tried` them."""

    turn: Turn
    floor: Floor
    decision: RouteDecision
    card: Card | None = None
    again: Activity | None = None
    tried: tuple[str, ...] = ()


class Routes:
    """Carries out the route decisions of one root."""

    def __init__(
        self,
        root: Root,
        *,
        skills: Callable[[], Mapping[str, Skill]],
        conversations: Conversations,
        dialogs: SkillDialogs,
        deliveries: Deliveries,
        fan_out: FanOut,
        now: Callable[[], float],
    ) -> None:
        self._root = root
        self._skills = skills
        self._conversations = conversations
        self._dialogs = dialogs
        self._deliveries = deliveries
        self._fan_out = fan_out
        self._now = now
        self._ways: Mapping[RouteKind, Callable[[_Taken], Awaitable[None]]] = {
            RouteKind.SKILL: self._to_skill,
            RouteKind.STAY: self._to_skill,
            RouteKind.SWITCH: self._to_other,
            RouteKind.ASIDE: self._aside,
            RouteKind.FAN_OUT: self._to_several,
            RouteKind.ASK: self._ask,
            RouteKind.AMBIGUOUS: self._ask,
            RouteKind.NONE: self._none,
            RouteKind.HELP: self._help,
            RouteKind.LIST: self._list,
            RouteKind.ROOT: self._own,
            RouteKind.UNKNOWN: self._unknown,
        }

    async def take(
        self,
        turn: Turn,
        floor: Floor,
        decision: RouteDecision,
        *,
        card: Card | None = None,
        again: Activity | None = None,
        tried: tuple[str, ...] = (),
    ) -> None:
        """Do what was decided; `again` are earlier words that it is about.

        Raises `FloorChanged` before anything was done.
        """
        taken = _Taken(turn, floor, decision, card, again, tried)
        await self._ways[decision.kind](taken)

    async def forward(self, turn: Turn, skill: Skill, floor: Floor) -> None:
        """Pass the turn's activity on to the skill that has the floor, without any decision."""
        await self._deliveries.forward(turn, skill, floor, routed=True)

    async def say(self, turn: Turn, text: str, *, title: str = "", choices: str = "") -> None:
        """Say something of the root's own; only skills that the user may reach are named."""
        await turn.send(self._filled(turn, text, title=title, choices=choices))

    def _filled(self, turn: Turn, text: str, *, title: str = "", choices: str = "") -> str:
        if "{skills}" in text:
            asker = asker_of(turn.activity, root=turn.bot)
            granted = [skill for skill in self._skills().values() if is_granted(skill, asker)]
            skills = introduced(granted, nobody=self._root.texts.no_skills)
            text = filled(text, skills=skills)
        return filled(text, title=title, choices=choices)

    # To skills

    async def _to_skill(self, taken: _Taken) -> None:
        skill = self._skill(taken)
        activity = await self._outgoing(taken, skill)
        await self._deliveries.forward(
            taken.turn, skill, taken.floor, activity, routed=True, tried=taken.tried
        )

    async def _to_other(self, taken: _Taken) -> None:
        skill = self._skill(taken)
        activity = await self._outgoing(taken, skill)
        await self._dialogs.switch(taken.turn, skill.name, activity, tried=taken.tried)

    async def _aside(self, taken: _Taken) -> None:
        skill = self._skill(taken)
        handle = taken.card.handle if taken.card is not None else ""
        activity = await self._outgoing(taken, skill)
        await self._dialogs.aside(taken.turn, skill, activity, handle=handle)

    async def _to_several(self, taken: _Taken) -> None:
        skills = self._skills()
        names = [found.skill for found in taken.decision.candidates[:CHOICES]]
        questions = [
            Question(skills[name], await self._outgoing(taken, skills[name]))
            for name in names
            if name in skills
        ]
        heard = await self._fan_out.ask(taken.turn, taken.floor, questions)
        if heard is not None and not heard:
            await self._unknown(taken)

    def _skill(self, taken: _Taken) -> Skill:
        """The skill that was decided for; it may have gone since."""
        skill = self._skills().get(taken.decision.skill or "")
        if skill is None:
            raise FloorChanged
        return skill

    async def _outgoing(self, taken: _Taken, skill: Skill) -> Activity:
        """What the skill is sent: this message, its words without a name, or those of before."""
        turn, decision = taken.turn, replace(taken.decision, skill=skill.name)
        pending = taken.floor.session.pending
        activity = taken.again or turn.activity
        if decision.replays and pending is not None and taken.again is None:
            activity = turn.as_said(said_again(pending.said))
        elif decision.text is not None:
            activity = activity.with_(text=decision.text)
        summary = ""
        if ContextPart.SUMMARY in skill.context and self._root.summary is not None:
            summary = await self._root.summary(turn)
        return with_context(activity, decision, skill.context, summary=summary)

    # To the user

    async def _ask(self, taken: _Taken) -> None:
        """Ask which skill is meant, and remember what was said until then."""
        turn, texts = taken.turn, self._root.texts
        names = [found.skill for found in taken.decision.candidates[:CHOICES]]
        text, last = texts.ambiguous, texts.none_of_these
        active = taken.floor.session.active
        if taken.decision.kind is RouteKind.ASK and active is not None:
            names, text, last = [taken.decision.skill or "", active.skill], texts.switch, ""
        said = kept(taken.again or turn.activity)
        pending = Pending(tuple(names), said, turn.key, self._now())
        await self._remember(turn, taken.floor, pending)
        titles = [self._skills()[name].title for name in names if name in self._skills()]
        shown = [*titles, *filter(None, [last])]
        choices = ", ".join(f"{number}. {title}" for number, title in enumerate(shown, 1))
        asks = self._filled(turn, text, title=titles[-1] if titles else "", choices=choices)
        buttons = [{"type": "imBack", "title": title, "value": title} for title in shown]
        await turn.send(
            Activity.make(
                "message",
                text=asks,
                suggested_actions={"to": [], "actions": buttons},
                input_hint="expectingInput",
            )
        )

    async def _none(self, taken: _Taken) -> None:
        await self._remember(taken.turn, taken.floor, None)
        await self.say(taken.turn, self._root.texts.rephrase)

    async def _help(self, taken: _Taken) -> None:
        await self.say(taken.turn, self._root.texts.help)

    async def _list(self, taken: _Taken) -> None:
        await self.say(taken.turn, self._root.texts.list)

    async def _own(self, taken: _Taken) -> None:
        turn = taken.turn
        if turn.activity.type == "conversationUpdate":
            return
        handled = await self._root.handled(turn)
        if not handled and turn.activity.type == "invoke":
            turn.respond(501)

    async def _unknown(self, taken: _Taken) -> None:
        if taken.again is not None or not await self._root.handled(taken.turn):
            await self.say(taken.turn, self._root.texts.unknown)

    async def _remember(self, turn: Turn, floor: Floor, pending: Pending | None) -> None:
        session = asked(floor.session, pending)
        try:
            await turn.save([self._conversations.remembered(floor, session)])
        except VersionConflict as exc:
            raise FloorChanged from exc
