"""The root's turn: who gets what the user said, and what the user is told about it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from skills_host.activity import Activity
from skills_host.addressing import addressed_to_skill, end_of_conversation, received_in
from skills_host.bot.adapter import Place
from skills_host.bot.handlers import Bot
from skills_host.bot.inbox import Tasks
from skills_host.bot.turn import Turn, spoken
from skills_host.consumer.calls import OpenCalls
from skills_host.consumer.client import SkillAnswer, SkillClient
from skills_host.consumer.conversations import Conversations, Floor, SkillConversation
from skills_host.consumer.host import is_for_bot
from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.routing.route import RouteKind, is_reserved, route
from skills_host.consumer.routing.rules import words_of
from skills_host.errors import SkillFailed, SkillsHostError, TokenUnavailable, VersionConflict
from skills_host.settings import Delivery

__all__ = ["Orchestrator", "Root", "RootTexts"]

log = logging.getLogger(__name__)

ATTEMPTS = 3
# Nobody names a skill behind so many characters, and megabytes of words would keep others waiting.
LISTENED = 4096
OWN_TYPES = frozenset({"conversationUpdate", "installationUpdate", "contactRelationUpdate"})


@dataclass(frozen=True, slots=True)
class RootTexts:
    """What a root says by itself. `{title}`, `{skills}` and `{choices}` are filled in."""

    greeting: str = "Hello! {skills}"
    help: str = "{skills} Say “cancel” to leave a skill."
    unknown: str = "I did not understand that. {skills}"
    ambiguous: str = "Which one do you mean: {choices}?"
    no_skills: str = "There is no skill here yet."
    cancelled: str = "{title} was cancelled."
    nothing_to_cancel: str = "There is nothing to cancel."
    unavailable: str = "{title} is not available right now. Please try again later."


class _FloorChanged(Exception):
    """The floor changed between reading and taking it; nothing was done."""


class Root(Bot):
    """A bot that users talk to and that passes what they say to its skills.

    Its own `on_message("…")` handlers come before the skills, a plain `on_message` after them;
    `on_end` is called when a skill is done (`turn.speaker`, `turn.activity.value` and `.code`).
    """

    def __init__(
        self,
        *,
        cancel: Collection[str] = ("cancel", "start over"),
        texts: RootTexts = RootTexts(),
    ) -> None:
        super().__init__()
        self.texts = texts
        self.cancel = frozenset(map(words_of, cancel))

    def overtakes(self, activity: Activity) -> bool:
        """True for what must not wait for an open turn: words that cancel, and ends. Pure."""
        if activity.type == "message":
            text = spoken(activity)
            return len(text) <= LISTENED and is_reserved(text, self.cancel)
        return super().overtakes(activity)


class Orchestrator:
    """Runs the turns of one root: the active skill has the floor until it ends.

    Session, handle and state are saved before a skill is posted to, and nothing is held while the
    POST is open: callbacks, an end among them, come meanwhile.
    """

    def __init__(
        self,
        root: Root,
        *,
        skills: Callable[[], Mapping[str, Skill]],
        conversations: Conversations,
        client: SkillClient,
        calls: OpenCalls,
        tasks: Tasks,
        host_url: str,
    ) -> None:
        self._root = root
        self._skills = skills
        self._conversations = conversations
        self._client = client
        self._calls = calls
        self._tasks = tasks
        self._host_url = host_url

    async def run(self, turn: Turn) -> None:
        """Handle one turn of a user."""
        if turn.activity.type == "endOfConversation" or self._root.overtakes(turn.activity):
            await self._cancel(turn)
            return
        for _ in range(ATTEMPTS):
            try:
                await self._handle(turn)
                return
            except _FloorChanged:
                continue
        raise VersionConflict("session", turn.session)

    async def ended(self, turn: Turn) -> None:
        """Tell the root's bot, and the user if so configured, that a skill is done."""
        await self._root.handled(turn)
        skill = self._skills().get(turn.speaker or "")
        if skill is not None and skill.texts.ended:
            await turn.send(skill.texts.ended)

    # Deciding

    async def _handle(self, turn: Turn) -> None:
        if turn.activity.type in OWN_TYPES:
            await self._own(turn)
            return
        floor = await self._conversations.floor(turn.session)
        active = floor.session.active
        if active is not None:
            skill = self._skills().get(active.skill)
            if skill is None:
                await self._conversations.end(floor.key, active.handle)
                await self._say(turn, self._root.texts.unavailable, title=active.skill)
                await self._synthetic_end(turn, active.skill, "channelFailed")
                return
            await self._forward(turn, skill, floor)
        elif turn.activity.type == "message":
            await self._route(turn, floor)
        elif not await self._root.handled(turn) and turn.activity.type == "invoke":
            turn.respond(501)

    async def _route(self, turn: Turn, floor: Floor) -> None:
        if await self._root.handled(turn, catch_all=False):
            return
        text = turn.text[:LISTENED]
        decision = route(text, self._skills())
        texts = self._root.texts
        if decision.skill is not None:
            await self._forward(turn, self._skills()[decision.skill], floor)
        elif is_reserved(text, ("help",)):
            await self._say(turn, texts.help)
        elif decision.kind is RouteKind.AMBIGUOUS:
            titles = (self._skills()[name].title for name in decision.candidates)
            await self._say(turn, texts.ambiguous, choices=" or ".join(titles))
        elif not await self._root.handled(turn):
            await self._say(turn, texts.unknown)

    async def _own(self, turn: Turn) -> None:
        if await self._root.handled(turn) or turn.activity.type != "conversationUpdate":
            return
        added = turn.activity.get("membersAdded")
        bot = turn.activity.recipient.id
        members = added if isinstance(added, list) else []
        if any(isinstance(member, dict) and member.get("id") != bot for member in members):
            await self._say(turn, self._root.texts.greeting)

    # Forwarding

    async def _forward(self, turn: Turn, skill: Skill, floor: Floor) -> None:
        place = Place(turn.reference, turn.audience, turn.session)
        conversation, changes = self._conversations.given(floor, skill, place)
        try:
            await turn.save(changes)
        except VersionConflict as exc:
            raise _FloorChanged from exc
        outgoing = addressed_to_skill(
            turn.activity,
            conversation_id=conversation.handle,
            service_url=self._host_url,
            delivery_mode=skill.delivery if skill.delivery is not Delivery.NORMAL else None,
        )
        handle = conversation.handle
        post = self._client.post(skill, outgoing, conversation_id=handle)
        try:
            answer = await self._calls.run(handle, post)
        except (SkillFailed, TokenUnavailable) as exc:
            await self._failed(turn, skill, conversation, exc)
            return
        await self._answered(turn, skill, conversation, answer)

    async def _answered(
        self, turn: Turn, skill: Skill, conversation: SkillConversation, answer: SkillAnswer
    ) -> None:
        """Pass on what came back with the POST: replies in order, an end where it stands."""
        end: Activity | None = None
        for reply in answer.replies:
            if reply.type == "endOfConversation":
                end = end or reply
                continue
            with _from_skill(turn, reply, skill.name):
                if is_for_bot(reply):
                    await self._root.handled(turn)
                else:
                    await turn.relay(reply, reply_to_id=turn.reference.activity_id)
        if turn.activity.type == "invoke" and turn.invoke_response is None:
            turn.respond(answer.status, answer.body)
        if end is not None and await self._conversations.end(turn.session, conversation.handle):
            with _from_skill(turn, end, skill.name):
                await self.ended(turn)

    async def _failed(
        self,
        turn: Turn,
        skill: Skill,
        conversation: SkillConversation,
        failure: SkillsHostError,
    ) -> None:
        """Take the floor from a skill that cannot be used, and say so."""
        if turn.activity.type == "invoke":
            turn.respond(502)
        # Whoever cancelled the call has told the user.
        if failure.code == "skill-cancelled":
            return
        log.warning("skill %s failed: %s (%s)", skill.name, failure.code, failure)
        if await self._conversations.end(turn.session, conversation.handle) is None:
            return
        code = "botTimedOut" if failure.code == "deadline" else "channelFailed"
        if code == "botTimedOut":
            self._tell_skill(turn, skill, conversation, code="botTimedOut")
        text = skill.texts.unavailable or self._root.texts.unavailable
        await self._say(turn, text, title=skill.title)
        await self._synthetic_end(turn, skill.name, code)

    # Cancelling

    async def _cancel(self, turn: Turn) -> None:
        is_message = turn.activity.type == "message"
        active = (await self._conversations.floor(turn.session)).session.active
        closed = active and await self._conversations.end(turn.session, active.handle)
        if not active or not closed:
            if is_message:
                await self._say(turn, self._root.texts.nothing_to_cancel)
            return
        self._calls.cancel(active.handle)
        skill = self._skills().get(active.skill)
        if skill is not None:
            self._tell_skill(turn, skill, closed, code="userCancelled")
        if is_message:
            said = skill.texts.cancelled if skill else None
            title = skill.title if skill else active.skill
            await self._say(turn, said or self._root.texts.cancelled, title=title)
        await self._synthetic_end(turn, active.skill, "userCancelled")

    def _tell_skill(
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

    async def _told(self, skill: Skill, end: Activity, handle: str) -> None:
        try:
            await self._client.post(skill, end, conversation_id=handle)
        except SkillsHostError as exc:
            log.warning("skill %s was not told of its end: %s", skill.name, exc.code)

    async def _synthetic_end(self, turn: Turn, skill: str, code: str) -> None:
        """The end that a skill did not send, as the root's bot gets to see it."""
        with _from_skill(turn, end_of_conversation(code=code), skill):
            await self._root.handled(turn)

    async def _say(self, turn: Turn, text: str, *, title: str = "", choices: str = "") -> None:
        filled = {"title": title, "choices": choices, "skills": self._listed()}
        for name, value in filled.items():
            text = text.replace(f"{{{name}}}", value)
        await turn.send(text)

    def _listed(self) -> str:
        skills = self._skills().values()
        if not skills:
            return self._root.texts.no_skills
        return "I can pass you on to: " + "; ".join(map(_introduced, skills)) + "."


@contextmanager
def _from_skill(turn: Turn, activity: Activity, skill: str) -> Iterator[None]:
    """For as long as it lasts, the turn is about what a skill said."""
    own = turn.activity, turn.speaker
    turn.activity, turn.speaker = received_in(activity, turn.reference), skill
    try:
        yield
    finally:
        turn.activity, turn.speaker = own


def _introduced(skill: Skill) -> str:
    what = f" ({skill.description.rstrip('.')})" if skill.description else ""
    say = " or ".join(f"“{words}”" for words in (skill.name, *skill.phrases)[:3])
    return f"{skill.title}{what}, say {say}"
