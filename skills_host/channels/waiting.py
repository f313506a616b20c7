"""What waits to be sent, as it is stored: sealed, in order, each under an id of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from skills_host.activity import Activity
from skills_host.errors import StoreFailed
from skills_host.store.records import Record
from skills_host.store.seal import Keys
from skills_host.wire import decode, decode_elements, decode_members, encode, encode_members

__all__ = [
    "TICKET",
    "Verb",
    "Waiting",
    "deletion",
    "folded",
    "is_ticket",
    "opened",
    "place_of",
    "sealed",
]

SEALING = b"outbox record"
TICKET = "later."  # begins the id of what has no id of the channel's yet


class Verb(StrEnum):
    """What is to be done with an activity."""

    SEND = "send"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Waiting:
    """An activity that is to be sent; `since` in seconds since the epoch, `why` is a code.

    `ticket` is the id that whoever sent it was given. What changes something that waits, or takes
    it back, waits behind it with the same ticket.
    """

    activity: Activity
    key: str
    speaker: str | None
    since: float
    tries: int = 1
    why: str = ""
    ticket: str = ""
    verb: Verb = Verb.SEND

    def encode(self) -> bytes:
        """The activity as it is stored."""
        texts = {
            "key": self.key,
            "speaker": self.speaker,
            "since": self.since,
            "tries": self.tries,
            "why": self.why,
            "ticket": self.ticket,
            "verb": self.verb,
        }
        members = {name: encode(value) for name, value in texts.items()}
        return encode_members(members | {"activity": self.activity.encode()})

    @classmethod
    def parse(cls, body: bytes) -> Waiting:
        """The activity from its own `encode()`."""
        members = decode_members(body)
        activity = Activity.parse(members.pop("activity"))
        stored = {name: decode(raw) for name, raw in members.items()}
        return cls(activity, **stored | {"verb": Verb(stored.get("verb", Verb.SEND))})


def is_ticket(activity_id: str) -> bool:
    """True for the id of what was to be sent later, unless a channel gives such ids. Pure."""
    return activity_id.startswith(TICKET)


def folded(queue: Sequence[Waiting]) -> tuple[Waiting | None, frozenset[str]]:
    """The first of a queue as it is to be sent now, and the keys of all that this makes. Pure.

    What changes it while it waits is done with it; None if it was taken back.
    """
    first = queue[0]
    found: Waiting | None = first
    keys = {first.key}
    if first.verb is not Verb.SEND or not first.ticket:
        return first, frozenset(keys)
    for later in queue[1:]:
        if later.ticket != first.ticket or found is None:
            continue
        keys.add(later.key)
        is_gone = later.verb is Verb.DELETE
        found = None if is_gone else replace(found, activity=_instead(found, later))
    return found, frozenset(keys)


def _instead(first: Waiting, later: Waiting) -> Activity:
    """The later one in the place of the first, as the answer to the same."""
    answered = first.activity.raw("replyToId")
    return later.activity.with_raw({"id": None, "replyToId": answered})


def deletion(service_url: str, conversation: bytes) -> Activity:
    """What waits to take something back in a conversation."""
    return Activity.make("messageDelete").with_raw(
        {"serviceUrl": encode(service_url), "conversation": conversation}
    )


def sealed(keys: Keys, key: str, queue: Sequence[Waiting]) -> bytes:
    """What waits, as the record with this key holds it."""
    body = b"[%b]" % b",".join(waiting.encode() for waiting in queue)
    return keys.seal(SEALING, body, about=key.encode())


def opened(keys: Keys, record: Record) -> list[Waiting]:
    """What waits in a record, or the one that is dead there; `StoreFailed` with other keys."""
    try:
        body = keys.unseal(SEALING, record.body, about=record.key.encode())
    except ValueError:
        raise StoreFailed("the outbox cannot be read: host.keys has changed") from None
    return [Waiting.parse(element) for element in decode_elements(body)]


def place_of(record: Record) -> str:
    """The key of the queue that a record is, or that what is dead in it was in."""
    return "/".join(record.key.split("/")[:4])
