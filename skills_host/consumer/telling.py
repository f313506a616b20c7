"""The end of a conversation with a skill, as long as somebody is still to be told of it. Values."""

from __future__ import annotations

from dataclasses import dataclass, field

from skills_host.activity import Activity
from skills_host.auth.claims import Identity
from skills_host.wire import decode, decode_members, encode, encode_members

__all__ = ["SkillEnd", "Telling"]


@dataclass(frozen=True, slots=True)
class SkillEnd:
    """An end that a skill has sent, and the identity that it came with by a callback."""

    activity: Activity
    identity: Identity | None = None

    def encode(self) -> bytes:
        """The end as it is stored."""
        members = {"activity": self.activity.encode()}
        if self.identity is not None:
            members["identity"] = self.identity.encode()
        return encode_members(members)

    @classmethod
    def parse(cls, body: bytes) -> SkillEnd:
        """The end from its own `encode()`."""
        members = decode_members(body)
        identity = members.get("identity")
        return cls(
            Activity.parse(members["activity"]),
            None if identity is None else Identity.parse(identity),
        )


@dataclass(frozen=True, slots=True)
class Telling:
    """Who tells of an end, and of what, until all is done that follows from it.

    `by` is the key of the turn that does it: whoever takes that up after a crash goes on. It is the
    end of that turn's `call`, by its key, if it has come upon it with one. `end` is what the skill
    has sent, if it has; `said` is the last message that it got (as kept by `consumer.replay`), and
    `tried` who else had declined that. `resumes` is the skill that has the floor again, after
    `turns` messages. `deaths` counts the processes that have begun to tell.
    """

    by: str = ""
    end: SkillEnd | None = None
    said: str = field(default="", repr=False)
    tried: tuple[str, ...] = ()
    resumes: str = ""
    turns: int = 0
    call: str = ""
    deaths: int = 0

    def encode(self) -> bytes:
        """The telling as it is stored."""
        known = {
            "by": self.by,
            "said": self.said,
            "tried": self.tried,
            "resumes": self.resumes,
            "turns": self.turns,
            "call": self.call,
            "deaths": self.deaths,
        }
        members = {"known": encode(known)}
        if self.end is not None:
            members["end"] = self.end.encode()
        return encode_members(members)

    @classmethod
    def parse(cls, body: bytes) -> Telling:
        """The telling from its own `encode()`."""
        members = decode_members(body)
        known = decode(members["known"])
        end = SkillEnd.parse(members["end"]) if "end" in members else None
        return cls(**{**known, "tried": tuple(known["tried"])}, end=end)
