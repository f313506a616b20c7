"""The root's turn: who gets what the user said."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace

from skills_host.activity import Activity
from skills_host.bot.effects import Call
from skills_host.bot.turn import Turn
from skills_host.consumer.conversations import Card, Conversations, Floor, SkillConversation
from skills_host.consumer.delivery import Deliveries, FloorChanged
from skills_host.consumer.dialog import SkillDialogs
from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.replay import kept, said_again, text_of
from skills_host.consumer.root import Root
from skills_host.consumer.routes import Routes
from skills_host.consumer.routing.chain import RouterStep, decide
from skills_host.consumer.routing.decision import RouteDecision, RouteKind
from skills_host.consumer.routing.grants import asker_of, is_granted, visible_to
from skills_host.consumer.routing.known import KnownSkills
from skills_host.consumer.routing.reserved import Reserved, ReservedKind
from skills_host.consumer.routing.route import LISTENED, NOBODY, RouteRequest, answered
from skills_host.consumer.routing.rules import words_of
from skills_host.consumer.session import ActiveSkill
from skills_host.consumer.texts import RootTexts
from skills_host.errors import VersionConflict
from skills_host.routing_settings import Help, Interruption

__all__ = ["Orchestrator", "Root", "RootTexts"]

log = logging.getLogger(__name__)

ATTEMPTS = 3
HOPS = 3  # skills that may decline the same words
OWN_TYPES = frozenset({"conversationUpdate", "installationUpdate", "contactRelationUpdate"})
COMMANDS = ("@", "/")


class Orchestrator:
    """Runs the turns of one root: the active skill has the floor until it ends."""

    def __init__(
        self,
        root: Root,
        *,
        skills: Callable[[], Mapping[str, Skill]],
        conversations: Conversations,
        dialogs: SkillDialogs,
        deliveries: Deliveries,
        known: KnownSkills,
        routers: tuple[RouterStep, ...],
        routes: Routes,
        now: Callable[[], float],
        log_text: bool = False,
    ) -> None:
        self._root = root
        self._skills = skills
        self._conversations = conversations
        self._dialogs = dialogs
        self._deliveries = deliveries
        self._known = known
        self._routers = routers
        self._routes = routes
        self._now = now
        self._log_text = log_text
        deliveries.declines = self._rerouted

    async def run(self, turn: Turn) -> None:
        """Handle one turn of a user."""
        if turn.activity.type == "endOfConversation" or self._root.overtakes(turn.activity):
            await self._cancel(turn)
            return
        earlier = await turn.effects.routed()
        if earlier is not None:
            await self._deliveries.go_on(turn, earlier, await self._posted_in(turn, earlier))
            return
        is_own = turn.activity.type not in OWN_TYPES and await turn.effects.calls()
        # The root's code had this turn, whoever it has given the floor to since.
        if is_own and await self._root.handled(turn):
            await self._deliveries.catch_up(turn)
            return
        if turn.activity.type in OWN_TYPES:
            await self._own(turn)
        for _ in range(ATTEMPTS):
            try:
                await self._handle(turn)
                return
            except FloorChanged:
                continue
        raise VersionConflict("session", turn.session)

    async def _posted_in(self, turn: Turn, earlier: Call) -> Activity:
        """What an earlier run of the turn has posted: words of before, where it was an answer."""
        active = (await self._conversations.floor(turn.session)).session.active
        activity, (type, *_, id) = turn.activity, earlier.about
        if type == "message" and active is not None and active.handle == earlier.handle:
            if active.said not in ("", kept(activity)):
                activity = turn.as_said(said_again(active.said))
        # What another skill has declined before went on with an id of its own.
        return activity.with_(id=id) if id and activity.id != id else activity

    async def _handle(self, turn: Turn) -> None:
        floor, card = await self._entered(turn)
        active = floor.session.active
        if active is not None:
            skill = self._skills().get(active.skill)
            if skill is None or not is_granted(skill, asker_of(turn.activity, root=turn.bot)):
                await self._dialogs.gone(turn, active)
                return
            if self._has_said_enough(turn, skill, active):
                await self._dialogs.cancel(turn, code="botTimedOut")
                raise FloorChanged
            if card is None and self._is_settled(turn, skill, floor):
                await self._routes.forward(turn, skill, floor)
                return
        elif turn.activity.type in OWN_TYPES:
            return
        await self._decided(turn, floor, card)

    async def _entered(self, turn: Turn) -> tuple[Floor, Card | None]:
        """Who has the floor, and whose card this answers; in one read."""
        activity = turn.activity
        may_submit = activity.type == "invoke" or (activity.type == "message" and not activity.text)
        if may_submit and activity.reply_to_id:
            return await self._conversations.entered(turn.session, activity.reply_to_id)
        return await self._conversations.floor(turn.session), None

    @staticmethod
    def _has_said_enough(turn: Turn, skill: Skill, active: ActiveSkill) -> bool:
        most = skill.max_turns
        return most is not None and active.turns >= most and turn.activity.type == "message"

    def _is_settled(self, turn: Turn, skill: Skill, floor: Floor) -> bool:
        """True where nothing but the active skill can be meant: most messages, at little cost."""
        activity = turn.activity
        if activity.type != "message":
            return skill.accepts is None
        text = turn.text
        is_command = text.startswith(COMMANDS) or activity.raw("value") is not None
        if is_command or floor.session.pending is not None:
            return False
        if skill.interruption is not Interruption.NEVER:
            return False
        heard = self._root.words.heard(text, activity.locale)
        if heard is None or (heard.kind is ReservedKind.HELP and skill.help is Help.SKILL):
            return True
        return False

    async def _decided(self, turn: Turn, floor: Floor, card: Card | None) -> None:
        known = await self._known.now()
        request = self._request(turn, floor, card)
        if request.type == "message" and not request.active:
            visible = visible_to(request.asker, known.skills)
            is_answer = answered(request, known, visible) is not None
            if not is_answer and await self._root.handled(turn, catch_all=False):
                return
        decision = await decide(request, known, self._routers)
        decision = replace(decision, id=turn.key)
        await self._noted(turn, request, decision)
        await self._routes.take(turn, floor, decision, card=card)

    def _request(self, turn: Turn, floor: Floor, card: Card | None) -> RouteRequest:
        activity = turn.activity
        return RouteRequest(
            text=turn.text,
            type=activity.type,
            name=activity.name or "",
            locale=activity.locale or "",
            asker=asker_of(activity, root=turn.bot),
            picked=self._picked(activity, turn.text),
            owner=card.skill if card is not None else "",
            reserved=self._reserved(turn),
            session=floor.session,
            key=turn.key,
            now=self._now(),
        )

    def _picked(self, activity: Activity, text: str) -> str:
        """The skill that a button of the root names, or `NOBODY`; a user may name any."""
        if activity.type != "message":
            return ""
        if words_of(text[:LISTENED]) == words_of(self._root.texts.none_of_these):
            return NOBODY
        value = activity.value if activity.raw("value") is not None else None
        picked = value.get("skillsHost") if isinstance(value, dict) else None
        name = picked.get("skill") if isinstance(picked, dict) else None
        return name if isinstance(name, str) else ""

    def _reserved(self, turn: Turn) -> Reserved | None:
        if turn.activity.type != "message":
            return None
        return self._root.words.heard(turn.text, turn.activity.locale)

    async def _noted(self, turn: Turn, request: RouteRequest, decision: RouteDecision) -> None:
        """Log a decision, and show it to the root's code, which cannot change it."""
        if log.isEnabledFor(logging.INFO):
            told = dict(decision.as_dict())
            told["text"] = request.text[:LISTENED] if self._log_text else len(request.text)
            log.info("route: %s %s", decision.kind, decision.skill or "-", extra={"route": told})
        for observer in self._root.observers:
            try:
                await observer(turn, decision)
            except Exception as exc:
                log.error("an observer of routes failed: %s", type(exc).__name__)

    async def _rerouted(self, turn: Turn, conversation: SkillConversation) -> bool:
        """Find another skill for words that one has declined; False if there were none."""
        left = conversation.telling
        if not left.said or left.resumes:
            return False
        earlier = await turn.effects.routed()
        if earlier is not None:
            # Whoever the user talks to meanwhile, it is about these words.
            words = turn.as_said(said_again(left.said).with_(id=earlier.about[-1]))
            await self._deliveries.go_on(turn, earlier, words)
            return True
        for _ in range(ATTEMPTS):
            with suppress(FloorChanged):
                await self._passed_on(turn, conversation)
                return True
        raise VersionConflict("session", turn.session)

    async def _passed_on(self, turn: Turn, conversation: SkillConversation) -> None:
        """Decide once more about words that a skill has declined."""
        left = conversation.telling
        said, tried = left.said, (*left.tried, conversation.skill)
        with turn.about(turn.as_said(said_again(said)), conversation.skill):
            floor = await self._conversations.floor(turn.session)
            request = RouteRequest(
                text_of(said)[:LISTENED],
                locale=turn.activity.locale or "",
                asker=asker_of(turn.activity, root=turn.bot),
                key=turn.key,
                now=self._now(),
                tried=frozenset(tried),
            )
            # Where the user has gone on with something else meanwhile, it disturbs nobody there.
            has_gone_on = floor.session.active is not None
            decision = RouteDecision(RouteKind.UNKNOWN, policy="late" if has_gone_on else "hops")
            if len(tried) < HOPS and not has_gone_on:
                decision = await decide(request, await self._known.now(), self._routers)
            decision = replace(decision, id=turn.key)
            await self._noted(turn, request, decision)
        again = turn.as_said(said_again(said).with_(id=conversation.id_after))
        await self._routes.take(turn, floor, decision, again=again, tried=tried)

    async def _own(self, turn: Turn) -> None:
        """What happens to the conversation is the root's to know first."""
        if await self._root.handled(turn) or turn.activity.type != "conversationUpdate":
            return
        added = turn.activity.get("membersAdded")
        bot = turn.activity.recipient.id
        members = added if isinstance(added, list) else []
        if any(isinstance(member, dict) and member.get("id") != bot for member in members):
            await self._routes.say(turn, self._root.texts.greeting)

    async def _cancel(self, turn: Turn) -> None:
        is_message = turn.activity.type == "message"
        waiting = (await self._conversations.floor(turn.session)).session.waiting
        cancelled = await self._dialogs.let_go(turn)
        if cancelled is None:
            if is_message:
                await self._routes.say(turn, self._root.texts.nothing_to_cancel)
            elif turn.is_from_skill_consumer:
                await self._root.handled(turn)
            return
        if is_message:
            skill = self._skills().get(cancelled.skill)
            text = skill.texts.cancelled if skill else None
            title = skill.title if skill else cancelled.skill
            await self._routes.say(turn, text or self._root.texts.cancelled, title=title)
        if not is_message:
            self._root.leave_dialog(turn)
        # An end from the caller is known there; one that the user asked for is not.
        await self._deliveries.notices.synthetic_end(
            turn, cancelled.skill, "userCancelled", climbs=is_message
        )
        await self._after_cancel(turn, {skill.handle for skill in waiting})

    async def _after_cancel(self, turn: Turn, waiting: Collection[str]) -> None:
        """Go back to a skill that waited; whoever starts over, or ends the root, leaves it too."""
        active = (await self._conversations.floor(turn.session)).session.active
        # The user may have begun something else meanwhile, which nobody has interrupted.
        if active is None or active.handle not in waiting:
            return
        heard = self._reserved(turn)
        if heard is not None and heard.kind is ReservedKind.CANCEL:
            await self._dialogs.reprompt(turn)
        else:
            await self._dialogs.cancel(turn)
