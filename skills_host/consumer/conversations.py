"""Conversations with skills, as they are stored: what a handle leads to, and who has the floor.

A handle's record and its session change together, in one write, and only by expected versions:
whoever comes late finds that out and does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from skills_host.activity import Activity
from skills_host.addressing import joined_key
from skills_host.auth.allowlist import check_owner
from skills_host.auth.claims import Identity
from skills_host.bot.turn import Place
from skills_host.consumer.handle import check_handle, is_handle, new_handle
from skills_host.consumer.policy import is_listed
from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.session import IDLE, Session, ended, started
from skills_host.consumer.session import KIND as SESSION
from skills_host.errors import SkillsHostError, UnknownConversation, VersionConflict
from skills_host.reference import ConversationReference
from skills_host.settings import Delivery
from skills_host.store.records import NEW, Change, Delete, Key, Put, Record, Store
from skills_host.store.seal import Keys
from skills_host.wire import decode, decode_members, encode, encode_members

__all__ = [
    "KIND",
    "SENT",
    "TELLING",
    "Conversations",
    "Floor",
    "Patience",
    "SkillConversation",
    "sent_key",
]

KIND = "handle"
OWNED = "owned"
SENT = "sent"
ATTEMPTS = 5
TELLING = 30.0  # seconds after which another process tells of an end
SPOKEN = 1000  # activities of a conversation that are looked through at once


@dataclass(frozen=True, slots=True)
class SkillConversation:
    """What a handle leads to: the user's conversation, and the only skill that may use it.

    `place.audience` is whom the user's side needs tokens for; `since` in seconds since the epoch.
    `delivery` is known only where the floor was just given. `ending` is the code with which the
    host ends it, from when that is decided until everybody is told.
    """

    handle: str
    skill: str
    skill_app_id: str
    host_app_id: str
    place: Place
    since: float
    closed: bool = False
    ending: str = ""
    delivery: Delivery | None = None

    def encode(self) -> bytes:
        """The conversation as it is stored, under its handle."""
        texts = {
            "skill": self.skill,
            "skillAppId": self.skill_app_id,
            "hostAppId": self.host_app_id,
            "audience": self.place.audience,
            "session": self.place.session,
            "since": self.since,
            "closed": self.closed,
            "ending": self.ending,
            "hops": self.place.hops,
        }
        members = {name: encode(value) for name, value in texts.items()}
        return encode_members(members | {"reference": self.place.reference.encode()})

    @classmethod
    def parse(cls, handle: str, body: bytes) -> SkillConversation:
        """The conversation from its own `encode()`."""
        members = decode_members(body)
        reference = ConversationReference.parse(members.pop("reference"))
        stored = {name: decode(raw) for name, raw in members.items()}
        return cls(
            handle,
            stored["skill"],
            stored["skillAppId"],
            stored["hostAppId"],
            Place(reference, stored["audience"], stored["session"], tuple(stored.get("hops", ()))),
            stored["since"],
            stored["closed"],
            stored.get("ending", ""),
        )


@dataclass(frozen=True, slots=True)
class Floor:
    """A session as it was read: `version` is what the next write of it expects."""

    key: str
    session: Session = IDLE
    version: int = NEW


@dataclass(frozen=True, slots=True)
class Patience:
    """How long, in seconds, a skill may have the floor with nothing said, and altogether."""

    idle: float
    total: float

    def of(self, skill: Skill) -> Patience:
        """The skill's own, where it has any."""
        return Patience(skill.idle_seconds or self.idle, skill.total_seconds or self.total)

    def ends(self, *, since: float, heard: float) -> float:
        """When it is over for a conversation that began at `since`, and was alive at `heard`."""
        return min(since + self.total, heard + self.idle)


class Conversations:
    """The conversations of one root bot with its skills; `lifetime` in seconds without use."""

    def __init__(
        self,
        store: Store,
        *,
        keys: Keys,
        host_app_id: str,
        now: Callable[[], float],
        random: Callable[[int], bytes],
        lifetime: float,
        patience: Patience,
    ) -> None:
        self._store = store
        self._keys = keys
        self._host_app_id = host_app_id
        self._now = now
        self._random = random
        self._lifetime = lifetime
        self._patience = patience

    async def floor(self, session: str) -> Floor:
        """Who has the floor in a session."""
        key = (SESSION, session)
        return _floor(session, (await self._store.read([key])).get(key))

    def given(
        self, floor: Floor, skill: Skill, place: Place, *, delivery: Delivery | None = None
    ) -> tuple[SkillConversation, list[Change]]:
        """The conversation in which `skill` has the floor, and the changes that give it to it.

        A skill that has it already keeps its handle and its delivery; where the user is gets
        brought up to date.
        """
        now = self._now()
        session, active = floor.session, floor.session.active
        if active is None or active.skill != skill.name or not self._is_of(active.handle, skill):
            handle = self._new_handle(skill)
            session = started(session, skill=skill.name, handle=handle, now=now, delivery=delivery)
            active = session.active
        assert active is not None  # noqa: S101 - for the type checker
        handle, chosen = active.handle, active.delivery and Delivery(active.delivery)
        conversation = SkillConversation(
            handle,
            skill.name,
            skill.app_id,
            self._host_app_id,
            place,
            active.since,
            delivery=chosen or None,
        )
        until = now + self._lifetime
        changes: list[Change] = [
            Put(SESSION, floor.key, session.encode(), expects=floor.version, expires=until),
            Put(
                KIND,
                handle,
                conversation.encode(),
                owner=skill.app_id,
                expires=until,
                due=self._patience.of(skill).ends(since=active.since, heard=now),
            ),
        ]
        if is_listed(skill):
            changes.append(Put(OWNED, _owned_key(conversation), b"{}", expires=until))
        return conversation, changes

    async def find(
        self, handle: str, identity: Identity, *, known: Mapping[Key, Record] | None = None
    ) -> SkillConversation:
        """The open conversation that this skill was given this handle for; `known` if just read.

        Raises `UnknownConversation` (unknown or ended) and `Denied` (`not-conversation-owner`).
        """
        check_handle(
            self._keys, handle, host_app_id=identity.bot_app_id, skill_app_id=identity.app_id
        )
        record = (known or await self._store.read([(KIND, handle)])).get((KIND, handle))
        if record is None:
            raise UnknownConversation(code="conversation-ended")
        check_owner(owner_app_id=record.owner, identity=identity)
        conversation = SkillConversation.parse(handle, record.body)
        if conversation.closed:
            raise UnknownConversation(code="conversation-ended")
        return conversation

    async def behind(self, activity: Activity) -> SkillConversation | None:
        """The conversation of ours that an activity was passed on from; None if there is none.

        Bots that pass on say where they were called (`relatesTo`), whichever SDK they are made of.
        """
        related = decode(activity.raw("relatesTo") or b"null")
        account = related.get("conversation") if isinstance(related, dict) else None
        handle = account.get("id") if isinstance(account, dict) else None
        if not isinstance(handle, str) or not is_handle(handle):
            return None
        record = (await self._store.read([(KIND, handle)])).get((KIND, handle))
        found = SkillConversation.parse(handle, record.body) if record else None
        return found if found is not None and found.host_app_id == self._host_app_id else None

    async def open(self, skill: Skill, place: Place, *, with_floor: bool) -> str:
        """Make a conversation that begins with the skill; its handle, stored.

        `with_floor` gives it the floor of the session too, if no skill has it. A skill that has
        it there already goes on with the conversation that it has.
        """
        for _ in range(ATTEMPTS):
            floor = await self.floor(place.session)
            active = floor.session.active
            if with_floor and active is not None and active.skill == skill.name:
                return active.handle
            takes = with_floor and active is None
            basis = floor if takes else Floor(place.session)
            conversation, changes = self.given(basis, skill, place)
            if not takes:
                changes = [change for change in changes if change.kind != SESSION]
            try:
                await self._store.write(changes)
            except VersionConflict:
                continue
            return conversation.handle
        raise VersionConflict(SESSION, place.session)

    async def owned(
        self, skill_app_id: str, *, tenant: str = "", after: str = "", limit: int
    ) -> tuple[list[SkillConversation], str]:
        """Open conversations of a skill that may ask for them, at most `limit`.

        Those of one `tenant` only, if it is given. The text is what comes `after` them next time,
        or empty where there are no more.
        """
        prefix = joined_key(self._host_app_id, skill_app_id, *filter(None, [tenant.lower()])) + "/"
        page = await self._store.scan(
            OWNED, prefix, after=prefix + after if after else "", limit=limit
        )
        keys = [(KIND, record.key.rpartition("/")[2]) for record in page]
        records = await self._store.read(keys) if keys else {}
        found = (SkillConversation.parse(record.key, record.body) for record in records.values())
        more = page[-1].key.removeprefix(prefix) if len(page) == limit else ""
        return [conversation for conversation in found if not conversation.closed], more

    async def resumed(self, session: str, handle: str) -> SkillConversation | None:
        """An open conversation of the session, with its delivery; None if it is closed."""
        keys = ((KIND, handle), (SESSION, session))
        records = await self._store.read(keys)
        record = records.get(keys[0])
        conversation = SkillConversation.parse(handle, record.body) if record else None
        if conversation is None or conversation.closed:
            return None
        active = _floor(session, records.get(keys[1])).session.active
        chosen = active.delivery if active is not None and active.handle == handle else None
        return replace(conversation, delivery=Delivery(chosen) if chosen else None)

    def sent(self, handle: str, skill_app_id: str, activity_id: str) -> list[Change]:
        """The changes that record that a skill sent an activity."""
        now = self._now()
        body = encode({"at": now})
        key, until = sent_key(handle, activity_id), now + self._lifetime
        return [Put(SENT, key, body, owner=skill_app_id, expires=until)]

    async def has_spoken(self, handle: str, *, since: float) -> bool:
        """True if the skill has sent anything to the user in a conversation since then."""
        return await self.last_spoken(handle) >= since

    async def end(
        self, session: str, handle: str, *, also: Iterable[Change] = (), ending: str = ""
    ) -> SkillConversation | None:
        """Close a conversation and take the floor from its skill; None if it was closed before.

        `also` is written with it. Where the host ends it with the code `ending`, it is due again
        until `all_told`.
        """
        for _ in range(ATTEMPTS):
            keys = ((KIND, handle), (SESSION, session))
            records = await self._store.read(keys)
            record = records.get(keys[0])
            if record is None:
                return None
            conversation = SkillConversation.parse(handle, record.body)
            if conversation.closed:
                return None
            floor = _floor(session, records.get(keys[1]))
            closed = self._closed(replace(conversation, ending=ending), record, floor)
            try:
                await self._store.write([*closed, *also])
            except VersionConflict:
                continue
            return conversation
        raise VersionConflict(KIND, handle)

    async def all_told(self, conversation: SkillConversation) -> None:
        """Take note that everybody knows of an end that the host made."""
        until = self._now() + self._lifetime
        body = replace(conversation, closed=True, ending="").encode()
        app_id = conversation.skill_app_id
        await self._store.write([Put(KIND, conversation.handle, body, owner=app_id, expires=until)])

    async def last_spoken(self, handle: str) -> float:
        """When the skill sent something to the user last, in seconds since the epoch; 0: never."""
        prefix, after, last = f"{joined_key(handle)}/", "", 0.0
        while page := await self._store.scan(SENT, prefix, after=after, limit=SPOKEN):
            # They are not in the order of time.
            last = max(last, *(float(decode(record.body).get("at", 0)) for record in page))
            after = page[-1].key
            if len(page) < SPOKEN:
                break
        return last

    def _closed(
        self, conversation: SkillConversation, record: Record, floor: Floor
    ) -> list[Change]:
        until = self._now() + self._lifetime
        body = replace(conversation, closed=True).encode()
        due = self._now() + TELLING if conversation.ending else None
        changes: list[Change] = [
            Put(
                KIND,
                record.key,
                body,
                expects=record.version,
                owner=record.owner,
                expires=until,
                due=due,
            ),
            Delete(OWNED, _owned_key(conversation)),
        ]
        after = ended(floor.session, handle=conversation.handle)
        if after != floor.session:
            changes.append(
                Put(SESSION, floor.key, after.encode(), expects=floor.version, expires=until)
            )
        return changes

    def _is_of(self, handle: str, skill: Skill) -> bool:
        """True unless the skill has another app id than when the handle was made for it."""
        host, app_id = self._host_app_id, skill.app_id
        try:
            check_handle(self._keys, handle, host_app_id=host, skill_app_id=app_id)
        except SkillsHostError:
            return False
        return True

    def _new_handle(self, skill: Skill) -> str:
        return new_handle(
            self._keys,
            host_app_id=self._host_app_id,
            skill_app_id=skill.app_id,
            random=self._random(16),
        )


def sent_key(handle: str, activity_id: str) -> str:
    """The key of the record that a skill sent an activity: only such may it update or delete."""
    return joined_key(handle, activity_id)


def _owned_key(conversation: SkillConversation) -> str:
    """Sorts a skill's conversations by tenant, so that those of one can be found."""
    account = decode(conversation.place.reference.conversation)
    tenant = account.get("tenantId") if isinstance(account, dict) else None
    return joined_key(
        conversation.host_app_id,
        conversation.skill_app_id,
        tenant.lower() if isinstance(tenant, str) else "",
        conversation.handle,
    )


def _floor(key: str, record: Record | None) -> Floor:
    if record is None:
        return Floor(key)
    return Floor(key, Session.parse(record.body), record.version)
