"""What skills have sent to users in their conversations: only such may they update or delete."""

from __future__ import annotations

from collections.abc import Callable

from skills_host.addressing import joined_key
from skills_host.store.records import Change, Key, Put, Store
from skills_host.wire import decode, encode

__all__ = ["Spoken", "spoken_key"]

KIND = "sent"
AT_ONCE = 1000  # activities of a conversation that are looked through at once


class Spoken:
    """Notes what skills send, and when; each is `kept` as long as what else is known of a skill."""

    def __init__(
        self, store: Store, *, now: Callable[[], float], kept: Callable[[str], float]
    ) -> None:
        self._store = store
        self._now = now
        self._kept = kept

    def noted(self, handle: str, activity_id: str, *, skill: str, owner: str) -> list[Change]:
        """The changes that record that a skill, whose app id is `owner`, sent an activity."""
        kind, key = spoken_key(handle, activity_id)
        body, until = encode({"at": self._now()}), self._kept(skill)
        return [Put(kind, key, body, owner=owner, expires=until)]

    async def has_been(self, handle: str, *, since: float) -> bool:
        """True if the skill has sent anything to the user in a conversation since then."""
        return await self.last(handle) >= since

    async def last(self, handle: str) -> float:
        """When the skill sent something to the user last, in seconds since the epoch; 0: never."""
        prefix, after, last = f"{joined_key(handle)}/", "", 0.0
        while page := await self._store.scan(KIND, prefix, after=after, limit=AT_ONCE):
            # They are not in the order of time.
            last = max(last, *(float(decode(record.body).get("at", 0)) for record in page))
            after = page[-1].key
            if len(page) < AT_ONCE:
                break
        return last


def spoken_key(handle: str, activity_id: str) -> Key:
    """Where it is recorded that a skill sent an activity."""
    return KIND, joined_key(handle, activity_id)
