"""What a skill asks of the user's channel, asked on its behalf and within its policy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar
from urllib.parse import quote, urlencode

from skills_host.activity import ID_CHARACTERS, Activity
from skills_host.addressing import joined_key, received_in, session_key
from skills_host.auth.claims import Identity
from skills_host.auth.denials import Denied
from skills_host.bot.adapter import Adapter
from skills_host.bot.channel import ChannelAnswer
from skills_host.bot.tasks import Tasks
from skills_host.bot.turn import Place, Turn
from skills_host.consumer.conversations import Conversations, SkillConversation
from skills_host.consumer.creation import Created, NewConversation
from skills_host.consumer.host import SkillHost, is_for_user
from skills_host.consumer.policy import check_policy, policy_of
from skills_host.consumer.registry.compile import Skill
from skills_host.errors import BadInput, ChannelFailed, SkillsHostError
from skills_host.reference import ConversationReference
from skills_host.settings import Operation, Policy
from skills_host.store.records import Put, Store
from skills_host.wire import decode, decode_elements, decode_members, encode, encode_members

__all__ = ["ChannelProxy", "Page", "Question"]

ATTACHMENT = "attachment"
HISTORY = 500
LISTED = 200

_ResultT = TypeVar("_ResultT")

# (method, what follows the conversation's id, with numbers for the route's ids)
_PATHS: Mapping[Operation, tuple[str, tuple[str | int, ...]]] = {
    Operation.MEMBERS: ("GET", ("members",)),
    Operation.MEMBER: ("GET", ("members", 1)),
    Operation.PAGED_MEMBERS: ("GET", ("pagedmembers",)),
    Operation.ACTIVITY_MEMBERS: ("GET", ("activities", 1, "members")),
    Operation.DELETE_MEMBER: ("DELETE", ("members", 1)),
    Operation.HISTORY: ("POST", ("activities", "history")),
    Operation.UPLOAD: ("POST", ("attachments",)),
}


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for: what comes after `token`, at most `size`."""

    size: int | None = None
    token: str = ""

    @property
    def query(self) -> str:
        """The query that asks a channel for it."""
        given = {"pageSize": self.size, "continuationToken": self.token}
        return urlencode({name: value for name, value in given.items() if value}, quote_via=quote)


@dataclass(frozen=True, slots=True)
class Question:
    """What a skill asks for: the operation, the ids of its route, its page and its body."""

    operation: Operation
    ids: tuple[str, ...] = ()
    page: Page = Page()
    body: bytes = field(default=b"", repr=False)


class ChannelProxy:
    """Passes on what one root's skills ask of channels; conversations are restored on the way.

    `lifetime` is how long an uploaded attachment is the skill's to read, in seconds.
    """

    def __init__(
        self,
        adapter: Adapter,
        host: SkillHost,
        *,
        conversations: Conversations,
        skills: Callable[[], Mapping[str, Skill]],
        store: Store,
        tasks: Tasks,
        host_url: str,
        now: Callable[[], float],
        lifetime: float,
    ) -> None:
        self._adapter = adapter
        self._host = host
        self._conversations = conversations
        self._skills = skills
        self._store = store
        self._tasks = tasks
        self._host_url = host_url
        self._now = now
        self._lifetime = lifetime

    async def ask(self, question: Question, identity: Identity) -> ChannelAnswer:
        """The channel's answer. Raises `Denied`, `NotOffered`, `UnknownConversation`, `BadInput`
        and what the channel refuses (`ChannelFailed`)."""
        match question.operation:
            case Operation.ATTACHMENT | Operation.ATTACHMENT_VIEW:
                return await self._attachment(question, identity)
            case Operation.CREATE:
                return await self._created(question, identity)
            case Operation.LIST:
                return await self._listed(question, identity)
        conversation = await self._host.found(question.ids[0], identity, question.operation)
        return await self._tasks.finish(self._passed(conversation, question, identity))

    async def _passed(
        self, conversation: SkillConversation, question: Question, identity: Identity
    ) -> ChannelAnswer:
        method, route = _PATHS[question.operation]
        path = [question.ids[part] if isinstance(part, int) else part for part in route]
        is_paged = question.operation is Operation.PAGED_MEMBERS
        query = question.page.query if is_paged else ""

        async def ask(turn: Turn) -> ChannelAnswer:
            body = question.body or None
            if question.operation is Operation.HISTORY:
                body = await _restored_history(turn, question.body)
            return await turn.ask(method, *path, query=query, body=body)

        answer = await self._in_turn(conversation.place, ask, identity, conversation.skill)
        if question.operation is Operation.UPLOAD:
            await self._store.write([self._noted(answer, conversation, identity)])
        return answer

    # Attachments: an id leads back to the conversation that it was uploaded in.

    async def _attachment(self, question: Question, identity: Identity) -> ChannelAnswer:
        skill = self._skill_of(identity, question.operation)
        key = (ATTACHMENT, _attachment_key(identity, question.ids[0]))
        record = (await self._store.read([key])).get(key)
        if record is None:
            raise SkillsHostError(code="not-found")
        place = Place.parse(record.body)
        views = ("views", *question.ids[1:]) if len(question.ids) > 1 else ()
        path = ("v3", "attachments", question.ids[0], *views)

        async def ask(turn: Turn) -> ChannelAnswer:
            return await turn.channel.ask("GET", place.reference.service_url, *path)

        return await self._tasks.finish(self._in_turn(place, ask, identity, skill.name))

    def _noted(
        self, answer: ChannelAnswer, conversation: SkillConversation, identity: Identity
    ) -> Put:
        document = _decoded(answer.body)
        attachment_id = document.get("id") if isinstance(document, dict) else None
        if not isinstance(attachment_id, str) or not 0 < len(attachment_id) <= ID_CHARACTERS:
            raise ChannelFailed("the channel gave the attachment no id")
        return Put(
            ATTACHMENT,
            _attachment_key(identity, attachment_id),
            conversation.place.encode(),
            owner=identity.app_id,
            expires=self._now() + self._lifetime,
        )

    # New conversations, only where the skill already has one

    async def _created(self, question: Question, identity: Identity) -> ChannelAnswer:
        skill = self._skill_of(identity, Operation.CREATE)
        if skill.draining:
            raise Denied("skill-draining")
        wanted = NewConversation.parse(question.body)
        owned, _ = await self._conversations.owned(
            identity.app_id, tenant=wanted.tenant, limit=LISTED
        )
        fitting = [found for found in owned if wanted.fits(found.place.reference)]
        if not fitting:
            raise Denied("other-tenant")
        basis = max(fitting, key=lambda conversation: conversation.since)
        return await self._tasks.finish(self._begun(skill, basis.place, wanted, identity))

    async def _begun(
        self, skill: Skill, basis: Place, wanted: NewConversation, identity: Identity
    ) -> ChannelAnswer:
        old = basis.reference

        async def create(turn: Turn) -> ChannelAnswer:
            # What is said there first is seen by the hooks as addressed to whom it is for.
            turn.reference = wanted.reference(old)
            first = None
            if wanted.first is not None and is_for_user(wanted.first):
                first = await turn.reviewed(wanted.first.with_(reply_to_id=None))
            body = wanted.parameters(old, first)
            path = ("v3", "conversations")
            return await turn.channel.ask("POST", old.service_url, *path, body=body)

        answer = await self._in_turn(basis, create, identity, skill.name)
        created = Created.parse(answer.body)
        if created is None:
            raise ChannelFailed("the channel gave the conversation no id")
        handle = await self._opened(skill, basis, wanted, created)
        given = {"id": handle, "serviceUrl": self._host_url}
        if created.activity_id:
            noted = self._conversations.spoken.noted(
                handle, created.activity_id, skill=skill.name, owner=skill.app_id
            )
            await self._store.write(noted)
            given["activityId"] = created.activity_id
        return ChannelAnswer(201, encode(given), "application/json")

    async def _opened(
        self, skill: Skill, basis: Place, wanted: NewConversation, created: Created
    ) -> str:
        """A handle for the new conversation; where one user is in it, the skill has the floor."""
        reference = wanted.reference(basis.reference, conversation_id=created.conversation_id)
        received = received_in(Activity({}), reference)
        session = session_key(self._adapter.name, received, caller=basis.caller)
        place = replace(basis, reference=reference, session=session)
        has_user = reference.user is not None
        return await self._conversations.open(skill, place, with_floor=has_user)

    async def _listed(self, question: Question, identity: Identity) -> ChannelAnswer:
        """The skill's own open conversations; the channel's list holds others' too."""
        self._skill_of(identity, Operation.LIST)
        limit = min(question.page.size or LISTED, LISTED)
        owned, more = await self._conversations.owned(
            identity.app_id, after=question.page.token, limit=limit
        )
        listed = [{"id": found.handle, "members": []} for found in owned]
        token = {"continuationToken": more} if more else {}
        return ChannelAnswer(200, encode({"conversations": listed} | token), "application/json")

    def _skill_of(self, identity: Identity, operation: Operation) -> Skill:
        """The caller's registration that may do this; raises what its policy says otherwise."""
        mine = [
            skill
            for skill in self._skills().values()
            if skill.app_id == identity.app_id
            and (not skill.tenants or identity.tenant in skill.tenants)
        ]
        if not mine:
            raise Denied("skill-not-allowed")
        for skill in mine:
            if policy_of(skill, operation) is Policy.ALLOWED:
                return skill
        check_policy(mine[0], operation)
        raise Denied("skill-not-allowed")

    async def _in_turn(
        self,
        place: Place,
        ask: Callable[[Turn], Awaitable[_ResultT]],
        identity: Identity,
        speaker: str,
    ) -> _ResultT:
        """What `ask` gives in a turn there; refused if the root's middleware does not let it."""
        results: list[_ResultT] = []

        async def run(turn: Turn) -> None:
            results.append(await ask(turn))

        await self._adapter.continue_conversation(place, run, identity=identity, speaker=speaker)
        if not results:
            raise Denied("operation-refused")
        return results[0]


def _attachment_key(identity: Identity, attachment_id: str) -> str:
    return joined_key(identity.bot_app_id, identity.app_id, attachment_id)


def _decoded(body: bytes) -> object:
    try:
        return decode(body) if body else None
    except BadInput:
        return None


async def _restored_history(turn: Turn, body: bytes) -> bytes:
    """A transcript in the user's conversation; each activity passes the root's hooks.

    What the user had said stays the user's, everything else is the root's. Ids and times stay:
    channels put a transcript in order by them.
    """
    members = decode_members(body)
    elements = decode_elements(members.get("activities", b"null"))
    if len(elements) > HISTORY:
        raise BadInput(f"a transcript has more than {HISTORY} activities", code="too-large")
    kept: list[bytes] = []
    for activity in map(Activity.parse, elements):
        passed = await turn.reviewed(activity) if is_for_user(activity) else None
        if passed is not None:
            kept.append(_in_history(passed, activity, turn.reference).encode())
    return encode_members(members | {"activities": b"[%b]" % b",".join(kept)})


def _in_history(passed: Activity, activity: Activity, reference: ConversationReference) -> Activity:
    who = activity.from_
    changes = {"id": activity.raw("id")}
    if who.role == "user" or (who.id and who.id == reference.user_id):
        changes |= {"from": reference.user, "recipient": reference.bot}
    return passed.with_raw(changes)
