"""The root's turn: who gets what the user said."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from skills_host.activity import Activity
from skills_host.bot.handlers import Bot
from skills_host.bot.turn import Turn, spoken
from skills_host.consumer.conversations import Conversations, Floor
from skills_host.consumer.delivery import Deliveries, FloorChanged
from skills_host.consumer.dialog import SkillDialogs
from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.routing.reserved import Phrases, ReservedKind, ReservedWords
from skills_host.consumer.routing.route import RouteKind, is_reserved, route
from skills_host.consumer.sso import Intercept
from skills_host.consumer.texts import RootTexts, filled, introduced
from skills_host.errors import VersionConflict

__all__ = ["Orchestrator", "Root", "RootTexts"]

ATTEMPTS = 3
# Nobody names a skill behind so many characters, and megabytes of words would keep others waiting.
LISTENED = 4096
WAYS_OUT = (ReservedKind.CANCEL, ReservedKind.START_OVER)
OWN_TYPES = frozenset({"conversationUpdate", "installationUpdate", "contactRelationUpdate"})


class Root(Bot):
    """A bot that users talk to and that passes what they say to its skills.

    Its own `on_message("…")` handlers come before the skills, a plain `on_message` after them;
    `on_end` is called when a skill is done (`turn.speaker`, `turn.activity.value` and `.code`).
    `cancel` are the words that get a user out of a skill, in every language; `words` are reserved
    words by language and kind. Both replace those that are known; settings come before both.
    """

    def __init__(
        self,
        *,
        cancel: Collection[str] | None = None,
        words: Mapping[str, Phrases] = MappingProxyType({}),
        texts: RootTexts | None = None,
    ) -> None:
        super().__init__()
        self.texts = texts or RootTexts()
        self.words = ReservedWords(words, cancel=cancel)
        self.intercept: Intercept | None = None
        self._skills: SkillDialogs | None = None

    @property
    def skills(self) -> SkillDialogs:
        """The skills as dialogs, for the root's own code: begin, reprompt, cancel, replace."""
        if self._skills is None:
            raise TypeError("the root is not served yet")
        return self._skills

    def serve_with(self, skills: SkillDialogs) -> None:
        """Take the skills that the host gives this root when it opens."""
        self._skills = skills

    def on_oauth_card(self, intercept: Intercept) -> Intercept:
        """See each OAuth card of a skill before the user does; True keeps it from the user."""
        self.intercept = intercept
        return intercept

    def listen_for(self, words: Mapping[str, Phrases]) -> None:
        """Take the reserved words of the host's settings."""
        self.words = self.words.replaced(words)

    def overtakes(self, activity: Activity) -> bool:
        """True for what must not wait for an open turn: words that cancel, and ends. Pure."""
        if activity.type == "message":
            heard = self.words.heard(spoken(activity), activity.locale)
            return heard is not None and heard.kind in WAYS_OUT
        return super().overtakes(activity)


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
    ) -> None:
        self._root = root
        self._skills = skills
        self._conversations = conversations
        self._dialogs = dialogs
        self._deliveries = deliveries

    async def run(self, turn: Turn) -> None:
        """Handle one turn of a user."""
        if turn.activity.type == "endOfConversation" or self._root.overtakes(turn.activity):
            await self._cancel(turn)
            return
        earlier = await turn.effects.routed()
        if earlier is not None:
            await self._deliveries.go_on(turn, earlier, turn.activity)
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

    async def _handle(self, turn: Turn) -> None:
        floor = await self._conversations.floor(turn.session)
        active = floor.session.active
        if active is not None:
            skill = self._skills().get(active.skill)
            if skill is None:
                await self._dialogs.gone(turn, active)
            else:
                await self._deliveries.forward(turn, skill, floor, routed=True)
        elif turn.activity.type == "message":
            await self._route(turn, floor)
        elif turn.activity.type not in OWN_TYPES:
            handled = await self._root.handled(turn)
            if not handled and turn.activity.type == "invoke":
                turn.respond(501)

    async def _route(self, turn: Turn, floor: Floor) -> None:
        if await self._root.handled(turn, catch_all=False):
            return
        text = turn.text[:LISTENED]
        decision = route(text, self._offered())
        texts = self._root.texts
        if decision.skill is not None:
            skill = self._skills()[decision.skill]
            await self._deliveries.forward(turn, skill, floor, routed=True)
        elif is_reserved(text, ("help",)):
            await self._say(turn, texts.help)
        elif decision.kind is RouteKind.AMBIGUOUS:
            titles = (self._skills()[name].title for name in decision.candidates)
            await self._say(turn, texts.ambiguous, choices=" or ".join(titles))
        elif not await self._root.handled(turn):
            await self._say(turn, texts.unknown)

    def _offered(self) -> Mapping[str, Skill]:
        """The skills that may begin something new."""
        skills = self._skills()
        if not any(skill.draining for skill in skills.values()):
            return skills
        return {name: skill for name, skill in skills.items() if not skill.draining}

    async def _own(self, turn: Turn) -> None:
        """What happens to the conversation is the root's to know first."""
        if await self._root.handled(turn) or turn.activity.type != "conversationUpdate":
            return
        added = turn.activity.get("membersAdded")
        bot = turn.activity.recipient.id
        members = added if isinstance(added, list) else []
        if any(isinstance(member, dict) and member.get("id") != bot for member in members):
            await self._say(turn, self._root.texts.greeting)

    async def _cancel(self, turn: Turn) -> None:
        is_message = turn.activity.type == "message"
        cancelled = await self._dialogs.let_go(turn)
        if cancelled is None:
            if is_message:
                await self._say(turn, self._root.texts.nothing_to_cancel)
            elif turn.is_from_skill_consumer:
                await self._root.handled(turn)
            return
        if is_message:
            skill = self._skills().get(cancelled.skill)
            text = skill.texts.cancelled if skill else None
            title = skill.title if skill else cancelled.skill
            await self._say(turn, text or self._root.texts.cancelled, title=title)
        if not is_message:
            self._root.leave_dialog(turn)
        # An end from the caller is known there; one that the user asked for is not.
        await self._deliveries.synthetic_end(
            turn, cancelled.skill, "userCancelled", climbs=is_message
        )

    async def _say(self, turn: Turn, text: str, *, title: str = "", choices: str = "") -> None:
        skills = introduced(self._skills().values(), nobody=self._root.texts.no_skills)
        await turn.send(filled(text, title=title, choices=choices, skills=skills))
