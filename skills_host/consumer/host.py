"""What a callback from a skill does: the root's side of the Connector REST API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from skills_host.activity import Activity
from skills_host.addressing import joined_key, received_in
from skills_host.auth.claims import Identity
from skills_host.auth.denials import Denied
from skills_host.bot.adapter import Adapter
from skills_host.bot.effects import KIND as EFFECT
from skills_host.bot.handlers import Handler
from skills_host.bot.tasks import Tasks
from skills_host.bot.turn import Turn
from skills_host.consumer.conversations import KIND as HANDLE
from skills_host.consumer.conversations import Conversations, SkillConversation
from skills_host.consumer.delivery import Deliveries
from skills_host.consumer.ends import Ends
from skills_host.consumer.policy import check_declared, check_policy, is_for_bot
from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.relays import places
from skills_host.consumer.spoken import spoken_key
from skills_host.consumer.values import checked
from skills_host.errors import BadInput, UnknownConversation
from skills_host.settings import Operation
from skills_host.store.records import Change, Key, Put, Read, Record, Store
from skills_host.wire import decode, encode

__all__ = ["SkillHost", "is_for_user"]

# Longer than any caller tries again.
KEPT = 3600.0

# These say something about the conversation to the root, or nothing to anybody.
_NOT_FOR_USERS = frozenset({"endOfConversation", "invokeResponse", "trace"})


def is_for_user(activity: Activity) -> bool:
    """True for what can be shown to a user, and so be changed or told later. Pure."""
    return activity.type not in _NOT_FOR_USERS and not is_for_bot(activity)


@dataclass(frozen=True, slots=True)
class _Callback:
    """What a skill sent in a conversation of its own; `key` names the turn, if it gave one.

    `before` are the marks of answers that may have come before it.
    """

    conversation: SkillConversation
    activity: Activity
    identity: Identity
    reply_to_id: str | None
    key: str
    before: tuple[Record, ...]


class SkillHost:
    """Acts for one root as the channel of its skills.

    Each call is checked against the conversation's owner first; what it does runs in a task of
    the host, so that a skill that hangs up neither stops nor repeats it. Callbacks never enter a
    lane: they come while the turn that caused them is open.
    """

    def __init__(
        self,
        adapter: Adapter,
        *,
        conversations: Conversations,
        skills: Callable[[], Mapping[str, Skill]],
        store: Store,
        tasks: Tasks,
        deliveries: Deliveries,
        ends: Ends,
        new_id: Callable[[], str],
        now: Callable[[], float],
        at_once: bool = True,
        barred: Callable[[str], str] = lambda name: "skill-not-allowed",
    ) -> None:
        self._adapter = adapter
        self._conversations = conversations
        self._skills = skills
        self._store = store
        self._tasks = tasks
        self._deliveries = deliveries
        self._ends = ends
        self._new_id = new_id
        self._now = now
        self._at_once = at_once
        self._barred = barred

    async def send(
        self,
        handle: str,
        activity: Activity,
        identity: Identity,
        *,
        reply_to_id: str | None = None,
        key: str = "",
    ) -> str:
        """An activity from a skill; the id that it may update or delete it by.

        An end closes the conversation first and is told to the root's bot; an event, or a command
        of its own, is for the root's bot alone; everything else goes to the user. A skill that
        may say nothing may still end. What came with the same `key` before is given its first
        answer, without a second effect.
        """
        turn_key = joined_key("callback", handle, key) if key else ""
        known: dict[Key, Record] = {}

        async def read(keys: Iterable[Key]) -> Mapping[Key, Record]:
            # One question to the store for all: who answers it waits for a network, maybe.
            if not known:
                known.update(await self._store.read([*keys, *places(handle)]))
            return known

        if turn_key:
            effect = (await read([(EFFECT, turn_key), (HANDLE, handle)])).get((EFFECT, turn_key))
            if (first := self._answered(effect, identity)) is not None:
                return first
        operation = None if activity.type == "endOfConversation" else Operation.SEND
        conversation = await self.found(handle, identity, operation, read=read)
        if skill := self._skills().get(conversation.skill):
            check_declared(skill, activity)
            activity = checked(skill, activity)
        before = tuple(known[key] for key in places(handle) if key in known)
        callback = _Callback(conversation, activity, identity, reply_to_id, turn_key, before)
        sent: str = await self._tasks.finish(self._sent(callback))
        return sent or self._new_id()

    def _answered(self, found: Record | None, identity: Identity) -> str | None:
        """The id that this skill was answered with when it sent the same before."""
        if found is None or found.owner != identity.app_id:
            return None
        return str(decode(found.body)["id"]) or self._new_id()

    async def update(
        self, handle: str, activity_id: str, activity: Activity, identity: Identity
    ) -> str:
        """Replace what the skill sent; the route's id counts, not the body's.

        `BadInput` (`bad-activity`) for what cannot be in its place.
        """
        conversation = await self.found(handle, identity, Operation.UPDATE)
        await self._check_sent(conversation, activity_id)
        if not is_for_user(activity):
            raise BadInput("an activity of this type replaces nothing", code="bad-activity")
        updated = activity_id

        async def update(turn: Turn) -> None:
            nonlocal updated
            updated = await turn.update(activity_id, activity) or activity_id

        await self._tasks.finish(self._turn(conversation, update, identity))
        return updated

    async def delete(self, handle: str, activity_id: str, identity: Identity) -> None:
        """Take back what the skill sent."""
        conversation = await self.found(handle, identity, Operation.DELETE)
        await self._check_sent(conversation, activity_id)

        async def delete(turn: Turn) -> None:
            await turn.delete(activity_id)

        await self._tasks.finish(self._turn(conversation, delete, identity))

    async def _sent(self, callback: _Callback) -> str:
        conversation, activity = callback.conversation, callback.activity
        sent = ""

        async def relay(turn: Turn) -> None:
            nonlocal sent
            answers = callback.reply_to_id or conversation.place.reference.activity_id
            if await self._deliveries.intercepted(turn, conversation, activity):
                return
            sent = await turn.relay(activity, reply_to_id=answers)
            noted = self._noted(callback, sent)
            if sent:
                noted += self._conversations.spoken.noted(
                    conversation.handle,
                    sent,
                    skill=conversation.skill,
                    owner=conversation.skill_app_id,
                )
                noted += self._conversations.shown(conversation, activity, sent)
            # Not with the turn's state: a conflict there would leave the skill without it.
            await self._store.write(noted)

        await self._deliveries.calls.relays.done(conversation.handle, callback.before)
        key, identity = callback.key, callback.identity
        if activity.type == "endOfConversation":
            await self._end(callback)
        elif is_for_bot(activity):
            await self._turn(conversation, self._to_bot, identity, activity, key=key)
            await self._store.write(self._noted(callback, ""))
        else:
            await self._turn(conversation, relay, identity, key=key)
        return sent

    async def _end(self, callback: _Callback) -> None:
        also = self._noted(callback, "")
        activity, identity = callback.activity, callback.identity
        if not await self._ends.sent(callback.conversation, activity, identity, also=also):
            raise UnknownConversation(code="conversation-ended")

    def _noted(self, callback: _Callback, sent: str) -> list[Change]:
        """The changes that record the answer to what came with a key."""
        if not callback.key:
            return []
        body, owner = encode({"id": sent}), callback.identity.app_id
        return [Put(EFFECT, callback.key, body, owner=owner, expires=self._now() + KEPT)]

    async def found(
        self,
        handle: str,
        identity: Identity,
        operation: Operation | None,
        *,
        read: Read | None = None,
    ) -> SkillConversation:
        """The skill's own open conversation, if it may do this there; None is always allowed.

        Raises `UnknownConversation`, `Denied` and `NotOffered`.
        """
        conversation = await self._conversations.find(handle, identity, read=read)
        skill = self._skills().get(conversation.skill)
        if skill is None or skill.app_id != identity.app_id:
            raise Denied(self._barred(conversation.skill))
        if operation is not None:
            check_policy(skill, operation)
        return conversation

    async def _check_sent(self, conversation: SkillConversation, activity_id: str) -> None:
        key = spoken_key(conversation.handle, activity_id)
        record = (await self._store.read([key])).get(key)
        if record is None or record.owner != conversation.skill_app_id:
            raise Denied("not-activity-owner")

    async def _to_bot(self, turn: Turn) -> None:
        await self._adapter.bot.handled(turn)

    async def _turn(
        self,
        conversation: SkillConversation,
        run: Handler,
        identity: Identity,
        activity: Activity | None = None,
        *,
        key: str = "",
    ) -> None:
        reference = conversation.place.reference
        await self._adapter.continue_conversation(
            conversation.place,
            run,
            identity=identity,
            activity=None if activity is None else received_in(activity, reference),
            speaker=conversation.skill,
            key=key,
            at_once=self._at_once,
            # What the root's bot does wrong is not the skill's to know.
            guarded=activity is not None,
        )
