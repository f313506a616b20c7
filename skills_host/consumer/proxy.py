"""What a skill asks of the user's channel, asked on its behalf and within its policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from skills_host.activity import Activity
from skills_host.addressing import joined_key, session_key
from skills_host.auth.claims import Identity
from skills_host.auth.denials import Denied
from skills_host.bot.adapter import Adapter
from skills_host.bot.inbox import Tasks
from skills_host.bot.turn import ChannelAnswer, Place, Turn
from skills_host.consumer.conversations import Conversations, SkillConversation
from skills_host.consumer.host import SkillHost
from skills_host.consumer.policy import check_policy, policy_of
from skills_host.consumer.registry.compile import Skill
from skills_host.errors import BadInput, SkillsHostError
from skills_host.reference import ConversationReference
from skills_host.settings import Operation, Policy
from skills_host.store.records import Put, Store
from skills_host.wire import decode, decode_elements, decode_members, encode, encode_members

__all__ = ["ChannelProxy", "Question"]

ATTACHMENT = "attachment"
QUERY_CHARACTERS = 2048

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
class Question:
    """What a skill asks for: the operation, the ids of its route, its query and its body."""

    operation: Operation
    ids: tuple[str, ...] = ()
    query: str = ""
    body: bytes = field(default=b"", repr=False)


class ChannelProxy:
    """Passes on what one root's skills ask of channels; conversations are restored on the way."""

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
    ) -> None:
        self._adapter = adapter
        self._host = host
        self._conversations = conversations
        self._skills = skills
        self._store = store
        self._tasks = tasks
        self._host_url = host_url

    async def ask(self, question: Question, identity: Identity) -> ChannelAnswer:
        """The channel's answer. Raises `Denied`, `NotOffered`, `UnknownConversation`, `BadInput`
        and what the channel refuses (`ChannelFailed`)."""
        if len(question.query) > QUERY_CHARACTERS:
            raise BadInput("the query is too long", code="bad-id")
        if question.operation in (Operation.ATTACHMENT, Operation.ATTACHMENT_VIEW):
            return await self._attachment(question, identity)
        if question.operation is Operation.CREATE:
            return await self._created(question, identity)
        if question.operation is Operation.LIST:
            return await self._listed(identity)
        conversation = await self._host.found(question.ids[0], identity, question.operation)
        return await self._tasks.finish(self._passed(conversation, question, identity))

    async def _passed(
        self, conversation: SkillConversation, question: Question, identity: Identity
    ) -> ChannelAnswer:
        method, route = _PATHS[question.operation]
        path = [question.ids[part] if isinstance(part, int) else part for part in route]
        answer = ChannelAnswer(200)

        async def ask(turn: Turn) -> None:
            nonlocal answer
            body = question.body or None
            if question.operation is Operation.HISTORY:
                body = await _restored_history(turn, question.body)
            answer = await turn.ask(method, *path, query=question.query, body=body)
            if question.operation is Operation.UPLOAD:
                await turn.save([_noted_attachment(answer, conversation)])

        await self._turn(conversation.place, ask, identity, conversation.skill)
        return answer

    # Attachments: an id leads back to the conversation that it was uploaded in.

    async def _attachment(self, question: Question, identity: Identity) -> ChannelAnswer:
        skill = self._skill_of(identity, question.operation)
        key = (ATTACHMENT, joined_key(identity.app_id, question.ids[0]))
        record = (await self._store.read([key])).get(key)
        if record is None or record.owner != identity.app_id:
            raise SkillsHostError(code="not-found")
        reference = ConversationReference.parse(decode_members(record.body)["reference"])
        place = Place(reference, decode(decode_members(record.body)["audience"]), "")
        views = ("views", question.ids[1]) if len(question.ids) > 1 else ()
        answer = ChannelAnswer(200)

        async def ask(turn: Turn) -> None:
            nonlocal answer
            path = ("v3", "attachments", question.ids[0], *views)
            answer = await turn.channel.ask("GET", reference.service_url, *path)

        await self._turn(place, ask, identity, skill.name)
        return answer

    # New conversations, only where the skill already has one

    async def _created(self, question: Question, identity: Identity) -> ChannelAnswer:
        skill = self._skill_of(identity, Operation.CREATE)
        members = decode_members(question.body)
        owned = await self._conversations.owned(identity.app_id)
        basis = _basis(owned, members)
        if basis is None:
            raise Denied("other-tenant")
        return await self._tasks.finish(self._begun(skill, basis, members, identity))

    async def _begun(
        self, skill: Skill, basis: SkillConversation, members: dict[str, bytes], identity: Identity
    ) -> ChannelAnswer:
        place, made = basis.place, b""

        async def create(turn: Turn) -> None:
            nonlocal made
            body = await _parameters(turn, members)
            answer = await turn.channel.ask(
                "POST", place.reference.service_url, "v3", "conversations", body=body
            )
            made = answer.body

        await self._turn(place, create, identity, skill.name)
        answer = decode(made) if made else {}
        created = answer.get("id") if isinstance(answer, dict) else None
        if not isinstance(created, str) or not created:
            raise SkillsHostError(code="channel-failed")
        handle = await self._opened(skill, place, created, members)
        activity_id = answer.get("activityId")
        if isinstance(activity_id, str) and activity_id:
            await self._store.write([self._host.noted(handle, identity.app_id, activity_id)])
        given = {"id": handle, "activityId": activity_id, "serviceUrl": self._host_url}
        body = encode({name: value for name, value in given.items() if value})
        return ChannelAnswer(201, body, "application/json")

    async def _opened(
        self, skill: Skill, place: Place, created: str, members: Mapping[str, bytes]
    ) -> str:
        """A handle for the new conversation; where one user is in it, the skill has the floor."""
        listed = decode_elements(members.get("members", b"null"))
        is_group = members.get("isGroup") == b"true"
        user = listed[0] if len(listed) == 1 and not is_group else None
        old = decode_members(place.reference.conversation)
        kept = {name: old[name] for name in ("tenantId", "conversationType") if name in old}
        account = kept | {"id": encode(created)} | ({"isGroup": b"true"} if is_group else {})
        reference = replace(
            place.reference, conversation=encode_members(account), user=user, activity_id=None
        )
        session = session_key(self._adapter.name, Activity(reference.members()))
        moved = Place(reference, place.audience, session)
        return await self._conversations.open(skill, moved, with_floor=user is not None)

    async def _listed(self, identity: Identity) -> ChannelAnswer:
        """The skill's own open conversations; the channel's list holds others' too."""
        self._skill_of(identity, Operation.LIST)
        owned = await self._conversations.owned(identity.app_id)
        listed = [{"id": found.handle, "members": []} for found in owned]
        return ChannelAnswer(200, encode({"conversations": listed}), "application/json")

    def _skill_of(self, identity: Identity, operation: Operation) -> Skill:
        """The caller's registration that may do this; raises what its policy says otherwise."""
        mine = [skill for skill in self._skills().values() if skill.app_id == identity.app_id]
        for skill in mine:
            if policy_of(skill, operation) is Policy.ALLOWED:
                return skill
        check_policy(mine[0] if mine else None, operation)
        raise Denied("skill-not-allowed")

    async def _turn(
        self,
        place: Place,
        run: Callable[[Turn], Any],
        identity: Identity,
        speaker: str,
    ) -> None:
        await self._adapter.continue_conversation(place, run, identity=identity, speaker=speaker)


def _noted_attachment(answer: ChannelAnswer, conversation: SkillConversation) -> Put:
    document = decode(answer.body) if answer.body else {}
    attachment_id = document.get("id") if isinstance(document, dict) else None
    if not isinstance(attachment_id, str):
        raise SkillsHostError(code="channel-failed")
    body = {
        "reference": conversation.place.reference.encode(),
        "audience": encode(conversation.place.audience),
    }
    key = joined_key(conversation.skill_app_id, attachment_id)
    return Put(ATTACHMENT, key, encode_members(body), owner=conversation.skill_app_id)


async def _restored_history(turn: Turn, body: bytes) -> bytes:
    """A transcript in the user's conversation; each activity passes the root's hooks."""
    members = decode_members(body)
    kept: list[bytes] = []
    for element in decode_elements(members.get("activities", b"null")):
        passed = await turn.reviewed(Activity.parse(element))
        kept += [passed.encode()] if passed is not None else []
    return encode_members(members | {"activities": b"[%b]" % b",".join(kept)})


async def _parameters(turn: Turn, members: Mapping[str, bytes]) -> bytes:
    """What a new conversation is made with: the root's own account, and its first activity."""
    changed = dict(members) | {"bot": turn.reference.bot or b"{}"}
    if first := members.get("activity"):
        passed = await turn.reviewed(Activity.parse(first))
        changed.pop("activity")
        if passed is not None:
            # It belongs to a conversation that has no id yet.
            changed["activity"] = passed.with_raw(
                {"conversation": None, "recipient": None, "replyToId": None}
            ).encode()
    return encode_members(changed)


def _basis(
    owned: list[SkillConversation], members: Mapping[str, bytes]
) -> SkillConversation | None:
    """The latest of the skill's conversations on the channel and tenant that are asked for."""
    asked = {name: decode(raw) for name, raw in members.items() if name != "activity"}
    data = asked.get("channelData")
    tenant = data.get("tenant") if isinstance(data, dict) else None
    tenants = {asked.get("tenantId"), tenant.get("id") if isinstance(tenant, dict) else None}
    tenants.discard(None)
    activity = Activity.parse(members["activity"]) if "activity" in members else None
    channel = activity.channel_id if activity is not None else None
    for found in sorted(owned, key=lambda conversation: -conversation.since):
        reference = found.place.reference
        account = decode(reference.conversation)
        its_tenant = account.get("tenantId") if isinstance(account, dict) else None
        if tenants <= {its_tenant} and channel in (None, reference.channel_id):
            return found
    return None
