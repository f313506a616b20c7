"""Conversations with skills, as they are stored: what a handle leads to, and who has the floor.

A handle's record and its session change together, in one write, and only by expected versions:
whoever comes late finds that out and does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from skills_host.activity import Activity
from skills_host.addressing import joined_key
from skills_host.auth.allowlist import check_owner
from skills_host.auth.claims import Identity
from skills_host.bot.turn import Place
from skills_host.consumer.conversation import Card, Floor, Patience, SkillConversation, left
from skills_host.consumer.handle import check_handle, is_handle, new_handle
from skills_host.consumer.policy import is_listed
from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.session import KIND as SESSION
from skills_host.consumer.session import ActiveSkill, Session, ended, heard, started
from skills_host.errors import SkillsHostError, UnknownConversation, VersionConflict
from skills_host.settings import Delivery
from skills_host.store.records import Change, Delete, Put, Read, Record, Store
from skills_host.store.seal import Keys
from skills_host.wire import decode, encode

__all__ = [
    "KIND",
    "SENT",
    "Card",
    "TELLING",
    "Conversations",
    "Floor",
    "Patience",
    "SkillConversation",
    "sent_key",
]

KIND = "handle"
CARD = "card"
OWNED = "owned"
SENT = "sent"
ATTEMPTS = 5
GRACE = 3600.0  # seconds for which a conversation whose time is over waits for a host to end it
TELLING = 30.0  # seconds after which another process tells of an end
ASKING = 60.0  # seconds that a skill may take to ask again, if it has no deadline of its own
SPOKEN = 1000  # activities of a conversation that are looked through at once


class Conversations:
    """The conversations of one root bot with its skills.

    What is over is kept for `lifetime`, in seconds; what is not, until long after it had to be.
    """

    def __init__(
        self,
        store: Store,
        *,
        keys: Keys,
        host_app_id: str,
        skills: Callable[[], Mapping[str, Skill]],
        now: Callable[[], float],
        random: Callable[[int], bytes],
        lifetime: float,
        patience: Patience,
    ) -> None:
        self._store = store
        self._keys = keys
        self._host_app_id = host_app_id
        self._skills = skills
        self._now = now
        self._random = random
        self._lifetime = lifetime
        self._patience = patience

    async def floor(self, session: str) -> Floor:
        """Who has the floor in a session."""
        key = (SESSION, session)
        return _floor(session, (await self._store.read([key])).get(key))

    async def entered(self, session: str, answers: str) -> tuple[Floor, Card | None]:
        """Who has the floor, and which skill sent what is answered, as far as that is known."""
        keys = ((SESSION, session), (CARD, joined_key(session, answers)))
        records = await self._store.read(keys)
        found = records.get(keys[1])
        card = None if found is None else Card(**decode(found.body))
        return _floor(session, records.get(keys[0])), card

    def given(
        self,
        floor: Floor,
        skill: Skill,
        place: Place,
        *,
        delivery: Delivery | None = None,
        said: str = "",
        tried: tuple[str, ...] = (),
    ) -> tuple[SkillConversation, list[Change]]:
        """The conversation in which `skill` has the floor, and the changes that give it to it.

        A skill that has it already keeps its handle and its delivery; where the user is gets
        brought up to date. `said` is the message that it gets, `tried` who has declined that.
        """
        now = self._now()
        session, active = floor.session, floor.session.active
        if active is None or active.skill != skill.name or not self._is_of(active.handle, skill):
            handle = self._new_handle(skill)
            beginning = ActiveSkill(skill.name, handle, now, delivery, int(bool(said)), said, tried)
            session = started(session, beginning)
        elif not tried or active.tried != tried:
            session = heard(session, said=said)
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
        until = self._kept(skill.name)
        changes: list[Change] = [
            self.remembered(floor, session),
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
        self, handle: str, identity: Identity, *, read: Read | None = None
    ) -> SkillConversation:
        """The open conversation that this skill was given this handle for; `read` asks the store.

        Raises `UnknownConversation` (unknown or ended) and `Denied` (`not-conversation-owner`).
        """
        check_handle(
            self._keys, handle, host_app_id=identity.bot_app_id, skill_app_id=identity.app_id
        )
        record = (await (read or self._store.read)([(KIND, handle)])).get((KIND, handle))
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
            if with_floor and active is None:
                conversation, changes = self.given(floor, skill, place)
            else:
                conversation, changes = self.beside(skill, place)
            try:
                await self._store.write(changes)
            except VersionConflict:
                continue
            return conversation.handle
        raise VersionConflict(SESSION, place.session)

    def beside(self, skill: Skill, place: Place) -> tuple[SkillConversation, list[Change]]:
        """A new conversation with a skill that does not have the floor, and the changes for it."""
        conversation, changes = self.given(Floor(place.session), skill, place)
        return conversation, [change for change in changes if change.kind != SESSION]

    async def take(self, floor: Floor, conversation: SkillConversation) -> bool:
        """Give the floor to a skill in a conversation that it has; False if it has changed."""
        active = ActiveSkill(conversation.skill, conversation.handle, conversation.since)
        session = started(floor.session, active)
        try:
            await self._store.write([self.remembered(floor, session)])
        except VersionConflict:
            return False
        return True

    async def declined(self, place: Place, handle: str) -> SkillConversation | None:
        """A conversation that a skill has left by declining, if nobody has answered that yet."""
        last = (await self.floor(place.session)).session.declined
        record = (await self._store.read([(KIND, handle)])).get((KIND, handle))
        if last is None or last.handle != handle or record is None:
            return None
        found = SkillConversation.parse(handle, record.body)
        return replace(found, said=last.said, tried=last.tried)

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

    def remembered(self, floor: Floor, session: Session) -> Put:
        """The change that stores another session in the place of the one that was read."""
        holders = (session.active, *session.waiting)
        until = self._kept(*(holder.skill for holder in holders if holder is not None))
        return Put(SESSION, floor.key, session.encode(), expects=floor.version, expires=until)

    def shown(
        self, conversation: SkillConversation, activity: Activity, activity_id: str
    ) -> list[Change]:
        """The changes that record whose a card is, so that what it submits goes there."""
        if not activity_id or activity.raw("attachments") in (None, b"[]"):
            return []
        key = joined_key(conversation.place.session, activity_id)
        body = encode({"skill": conversation.skill, "handle": conversation.handle})
        return [Put(CARD, key, body, expires=self._kept(conversation.skill))]

    def sent(self, handle: str, activity_id: str, *, skill: str, owner: str) -> list[Change]:
        """The changes that record that a skill, whose app id is `owner`, sent an activity."""
        body = encode({"at": self._now()})
        key, until = sent_key(handle, activity_id), self._kept(skill)
        return [Put(SENT, key, body, owner=owner, expires=until)]

    async def has_spoken(self, handle: str, *, since: float) -> bool:
        """True if the skill has sent anything to the user in a conversation since then."""
        return await self.last_spoken(handle) >= since

    async def end(
        self,
        session: str,
        handle: str,
        *,
        also: Iterable[Change] = (),
        ending: str = "",
        asks: bool = False,
        declines: bool = False,
    ) -> SkillConversation | None:
        """Close a conversation and take the floor from its skill; None if it was closed before.

        `also` is written with it, and what it `declines`. It is due until `all_told` if a skill
        that waited `asks` again, or the host ends it with the code `ending`.
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
            known = left(conversation, floor.session)
            kept = replace(known if asks or ending else conversation, ending=ending)
            try:
                await self._store.write([*self._closed(kept, record, floor, declines), *also])
            except VersionConflict:
                continue
            return known
        raise VersionConflict(KIND, handle)

    async def all_told(self, conversation: SkillConversation) -> None:
        """Take note that everybody knows of an end, and whoever waited for it was let ask."""
        until = self._now() + self._lifetime
        body = replace(conversation, closed=True, ending="", resumes="").encode()
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
        self, conversation: SkillConversation, record: Record, floor: Floor, declines: bool
    ) -> list[Change]:
        body, due, until = replace(conversation, closed=True).encode(), None, self._kept()
        if conversation.ending or conversation.resumes:
            due, until = self._now() + TELLING, self._kept(conversation.skill)
        if (back := self._skills().get(conversation.resumes)) is not None:
            due = self._now() + TELLING + (back.seconds or ASKING)
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
        after = ended(floor.session, handle=conversation.handle, declines=declines)
        if after != floor.session:
            changes.append(self.remembered(floor, after))
        return changes

    def _kept(self, *skills: str) -> float:
        """Until when something is kept: what is forgotten earlier could not be ended in time."""
        registered = self._skills()
        longest = (self._patience.of(registered.get(name)).total + GRACE for name in skills)
        return self._now() + max((self._lifetime, *longest))

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
