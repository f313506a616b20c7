"""A conversation with a skill, and what else is known of a user's session there. Values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256

from skills_host.bot.turn import Place
from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.session import IDLE, Session
from skills_host.consumer.telling import Telling
from skills_host.reference import ConversationReference
from skills_host.settings import Delivery
from skills_host.store.records import NEW
from skills_host.wire import decode, decode_members, encode, encode_members

__all__ = ["NOTHING", "Card", "Floor", "Patience", "SkillConversation", "left"]

NOTHING = Telling()


@dataclass(frozen=True, slots=True)
class SkillConversation:
    """What a handle leads to: the user's conversation, and the only skill that may use it.

    `place.audience` is whom the user's side needs tokens for; `since` in seconds since the epoch.
    `delivery` is known only where the floor was just given, `version` that of the record, where it
    was just ended or claimed. `ending` is the code with which the host ends it, from when that is
    decided until everybody is told; `telling` is what else is to be told then.
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
    telling: Telling = NOTHING
    version: int = 0

    @property
    def id_after(self) -> str:
        """The id of words that go to another skill because this one was left: the same whenever
        that is done, so that the other knows a repetition."""
        mark = sha256(self.handle.encode()).hexdigest()[:12]
        return f"{self.place.reference.activity_id or ''}|{mark}"

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
        if self.telling != NOTHING:
            members["telling"] = self.telling.encode()
        return encode_members(members | {"reference": self.place.reference.encode()})

    @classmethod
    def parse(cls, handle: str, body: bytes) -> SkillConversation:
        """The conversation from its own `encode()`."""
        members = decode_members(body)
        reference = ConversationReference.parse(members.pop("reference"))
        telling = members.pop("telling", None)
        stored = {name: decode(raw) for name, raw in members.items()}
        # As earlier versions wrote it.
        resumes, turns = stored.get("resumes", ("", 0))
        earlier = Telling(resumes=resumes, turns=turns) if resumes else NOTHING
        return cls(
            handle,
            stored["skill"],
            stored["skillAppId"],
            stored["hostAppId"],
            Place(reference, stored["audience"], stored["session"], tuple(stored.get("hops", ()))),
            stored["since"],
            stored["closed"],
            stored.get("ending", ""),
            telling=earlier if telling is None else Telling.parse(telling),
        )


def left(session: Session, handle: str) -> Telling:
    """What a session knows of a conversation that ends, to be told to others. Pure."""
    active = session.active
    if active is None or active.handle != handle:
        return NOTHING
    back = session.waiting[-1] if session.waiting else None
    known = Telling(said=active.said, tried=active.tried)
    return known if back is None else replace(known, resumes=back.skill, turns=back.turns)


@dataclass(frozen=True, slots=True)
class Card:
    """The skill that sent a card, and in which conversation."""

    skill: str
    handle: str


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

    def of(self, skill: Skill | None) -> Patience:
        """The skill's own, where it has any."""
        if skill is None:
            return self
        return Patience(skill.idle_seconds or self.idle, skill.total_seconds or self.total)

    def ends(self, *, since: float, heard: float) -> float:
        """When it is over for a conversation that began at `since`, and was alive at `heard`."""
        return min(since + self.total, heard + self.idle)
