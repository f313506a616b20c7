"""Conversations with skills, as they are stored: what a handle leads to, and who has the floor.

A handle's record and its session change together, in one write, and only by expected versions:
whoever comes late finds that out and does nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from skills_host.activity import Activity
from skills_host.addressing import joined_key
from skills_host.auth.allowlist import check_owner
from skills_host.auth.claims import Identity
from skills_host.bot.turn import Place
from skills_host.consumer.conversation import (
    NOTHING,
    Card,
    Floor,
    Patience,
    SkillConversation,
    left,
)
from skills_host.consumer.handle import Handles, check_handle, is_handle
from skills_host.consumer.policy import is_listed
from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.session import KIND as SESSION
from skills_host.consumer.session import ActiveSkill, Session, ended, heard, started
from skills_host.consumer.spoken import Spoken
from skills_host.consumer.telling import SkillEnd, Telling
from skills_host.errors import UnknownConversation, VersionConflict
from skills_host.settings import Delivery
from skills_host.store.records import ANY, Change, Delete, Put, Read, Record, Store
from skills_host.store.seal import Keys
from skills_host.wire import decode, encode

__all__ = ["KIND", "Card", "Conversations", "Floor", "Patience", "SkillConversation"]

KIND = "handle"
CARD = "card"
OWNED = "owned"
ATTEMPTS = 5
GRACE = 3600.0  # seconds for which a conversation whose time is over waits for a host to end it
SETTLED = 15.0  # seconds: a lease, and what is done under the next one
POLL = 0.1  # seconds between two looks


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
        self._handles = Handles(keys, host_app_id, random)
        self._skills = skills
        self._now = now
        self._lifetime = lifetime
        self._patience = patience
        self.spoken = Spoken(store, now=now, kept=self._kept)

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
        active = floor.session.active
        if active is None or active.skill != skill.name or not self._is_of(active.handle, skill):
            handle, turns = self._handles.new(skill.app_id), int(bool(said))
            now = self._now()
            active = ActiveSkill(skill.name, handle, now, delivery, turns, said, tried)
            session = started(floor.session, active)
        else:
            session = heard(floor.session, said=said)
        chosen = Delivery(active.delivery) if active.delivery else None
        conversation = SkillConversation(
            active.handle,
            skill.name,
            skill.app_id,
            self._host_app_id,
            place,
            active.since,
            delivery=chosen,
        )
        return conversation, [self.remembered(floor, session), *self._opened(conversation, skill)]

    def _is_of(self, handle: str, skill: Skill) -> bool:
        """True unless the skill has another app id than when the handle was made for it."""
        return self._handles.is_of(handle, skill.app_id)

    def _opened(self, conversation: SkillConversation, skill: Skill) -> list[Change]:
        until = self._kept(skill.name)
        opened: list[Change] = [
            Put(
                KIND,
                conversation.handle,
                conversation.encode(),
                owner=skill.app_id,
                expires=until,
                due=self._patience.of(skill).ends(since=conversation.since, heard=self._now()),
            )
        ]
        if is_listed(skill):
            opened.append(Put(OWNED, _owned_key(conversation), b"{}", expires=until))
        return opened

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
        """A conversation of the session, with its delivery if it is open; None if forgotten."""
        keys = ((KIND, handle), (SESSION, session))
        records = await self._store.read(keys)
        record = records.get(keys[0])
        if record is None:
            return None
        conversation = SkillConversation.parse(handle, record.body)
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

    async def end(
        self,
        session: str,
        handle: str,
        *,
        also: Iterable[Change] = (),
        ending: str = "",
        end: SkillEnd | None = None,
        by: str = "",
        call: str = "",
        due: float | None = None,
    ) -> SkillConversation | None:
        """Close a conversation and take the floor from its skill; None if it was closed before.

        `also` is written with it. If there is somebody to tell, the turn `by` does, which has come
        upon it with its `call`: of the `end` that the skill has sent, or of the host's own with the
        code `ending`. Its record may be claimed by others from `due` on, until it is `told`. Raises
        `VersionConflict` about what `also` expects.
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
            telling = replace(left(floor.session, handle), by=by, end=end, call=call)
            known = replace(conversation, telling=telling, ending=ending, closed=True)
            try:
                version, *_ = await self._store.write(
                    [*self._closed(known, record, floor, due), *also]
                )
            except VersionConflict as exc:
                if (exc.kind, exc.key) in keys:
                    continue
                raise
            return replace(known, version=version)
        raise VersionConflict(KIND, handle)

    async def all_told(self, conversation: SkillConversation) -> None:
        """Wait until everybody knows of an end that somebody else tells of, if not for ever."""
        key = (KIND, conversation.handle)
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLED):
                while conversation.telling != NOTHING:
                    await asyncio.sleep(POLL)
                    record = (await self._store.read([key])).get(key)
                    if record is None:
                        return
                    conversation = SkillConversation.parse(record.key, record.body)

    async def note_told(self, conversation: SkillConversation, *, asks: bool = False) -> None:
        """Note at once that everybody knows of an end."""
        await self._store.write([self.told(conversation, asks=asks)])

    async def begun_again(
        self, conversation: SkillConversation, *, due: float
    ) -> SkillConversation | None:
        """Count one more process that tells of an end; None if another has it now."""
        telling = replace(conversation.telling, deaths=conversation.telling.deaths + 1)
        known = replace(conversation, telling=telling)
        put = self._rewritten(known, expects=conversation.version, due=due)
        try:
            (version,) = await self._store.write([put])
        except VersionConflict:
            return None
        return replace(known, version=version)

    def told(
        self, conversation: SkillConversation, *, expects: int | None = ANY, asks: bool = False
    ) -> Put:
        """The change that notes that everybody knows of an end.

        A skill that waited for it `asks` again soon if nobody has let it until now.
        """
        resumes, turns = conversation.telling.resumes, conversation.telling.turns
        telling, due = NOTHING, None
        if asks and resumes:
            telling, due = Telling(resumes=resumes, turns=turns), self._now()
        told = replace(conversation, closed=True, ending="", telling=telling)
        return self._rewritten(told, expects=expects, due=due)

    def _rewritten(
        self, conversation: SkillConversation, *, expects: int | None, due: float | None
    ) -> Put:
        return Put(
            KIND,
            conversation.handle,
            conversation.encode(),
            expects=expects,
            owner=conversation.skill_app_id,
            expires=self._kept(*([conversation.skill] if conversation.telling.by else [])),
            due=due,
        )

    def _closed(
        self, conversation: SkillConversation, record: Record, floor: Floor, due: float | None
    ) -> list[Change]:
        kept = conversation if conversation.telling.by else replace(conversation, telling=NOTHING)
        changes: list[Change] = [
            self._rewritten(kept, expects=record.version, due=due),
            Delete(OWNED, _owned_key(conversation)),
        ]
        after = ended(floor.session, handle=conversation.handle)
        if after != floor.session:
            changes.append(self.remembered(floor, after))
        return changes

    def _kept(self, *skills: str) -> float:
        """Until when something is kept: what is forgotten earlier could not be ended in time."""
        registered = self._skills()
        longest = (self._patience.of(registered.get(name)).total + GRACE for name in skills)
        return self._now() + max((self._lifetime, *longest))


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
