"""What one turn has done to the world: n-th send, call to a skill, each under a key of its own.

A turn whose process died runs again from its beginning. What is recorded of the earlier run is
not done again; of what is not recorded nobody knows, and it is done once more with the same key,
by which a receiver that honours it takes it once.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from skills_host.activity import Activity
from skills_host.bot.sealing import Sealing
from skills_host.store.records import Change, Delete, Put, Store
from skills_host.wire import decode, encode

__all__ = ["KIND", "Call", "Effects", "mark_of"]

log = logging.getLogger(__name__)

KIND = "effect"
MOST = 1000  # effects of a turn that are looked through


@dataclass(frozen=True, slots=True)
class Call:
    """A skill was, or was about to be, posted an activity (`about`) with this handle.

    `routed` if the root's routing did it, not its bot's code. `since` in seconds since the epoch;
    `response` is what an invoke was answered with, if the call is known to have ended (`done`) when
    so many effects of the turn were `counted`. `failed` is the code with which its conversation was
    closed, `answered` (JSON) what the turn had put into its own answer before, or when it ended.
    """

    key: str
    skill: str
    handle: str
    about: tuple[str, ...]
    since: float
    routed: bool = False
    failed: str = ""
    done: bool = False
    response: Any = None
    counted: int = 0
    answered: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """The call as it is stored, under its key."""
        members = {name: getattr(self, name) for name in self.__slots__ if name != "key"}
        return encode({"call": members})

    @classmethod
    def parse(cls, key: str, members: Mapping[str, Any]) -> Call:
        """The call from its members as they are stored."""
        tuples = {name: tuple(members.get(name, ())) for name in ("about", "answered")}
        return cls(key=key, **{**members, **tuples})

    @property
    def number(self) -> int:
        """Which effect of its turn it is."""
        return int(self.key.rpartition("#")[2])


def mark_of(activity: Activity) -> tuple[str, ...]:
    """What tells one activity that is posted from another: type, name and id. Pure."""
    return activity.type, activity.name or "", activity.id or ""


class Effects:
    """The effects of the turn `key`; `again` if it may have had some before.

    `name` is that of the turn's activity: what concerns it, or a call with such a name, is sealed
    where it may hold a credential. What is noted is written with the turn's next save, and kept
    until `expires`.
    """

    def __init__(
        self,
        store: Store,
        key: str,
        *,
        again: bool,
        expires: float,
        sealing: Sealing,
        name: str | None = None,
    ) -> None:
        self.again = again
        self._store = store
        self._key = key
        self._expires = expires
        self._sealing = sealing
        self._name = name
        self._number = 0
        self._noted: dict[str, Put] = {}
        self._written: set[str] = set()
        self._earlier: dict[str, Any] | None = None
        self._gone_on: set[str] = set()

    def next(self) -> str:
        """The key of the next effect: the same in every run of the same turn."""
        self._number += 1
        return f"{self._key}#{self._number}"

    def changes(self) -> list[Put]:
        """What a save has to write."""
        return list(self._noted.values())

    def saved(self, changes: Sequence[Put]) -> None:
        """Take note that the changes were written; what was noted meanwhile is still to be."""
        for change in changes:
            if self._noted.get(change.key) is change:
                del self._noted[change.key]

    def forgotten(self) -> list[Change]:
        """What the end of the turn has to write: a turn that is answered never runs again."""
        return [Delete(KIND, key) for key in sorted(self._written)]

    async def once(self, send: Callable[[str], Awaitable[str]]) -> str:
        """The result of `send`, which is given the next key; of an earlier run, if it is recorded.

        Nothing is sent for a third time, however often the turn runs.
        """
        key = self.next()
        if self.again:
            earlier = await self.earlier(key)
            if earlier is not None and not earlier.keys().isdisjoint(("sent", "again")):
                return str(earlier.get("sent", ""))
            log.warning("an effect of a turn that was interrupted is made again")
            await self._store.write([self.record(key, {"again": True})])
        sent = await send(key)
        self._noted[key] = self._put(key, encode({"sent": sent}))
        return sent

    async def earlier(self, key: str) -> Any:
        """What an earlier run has recorded under the key; None if there is nothing."""
        return (await self._recorded()).get(key)

    def record(self, key: str, value: Any) -> Put:
        """The change that records any JSON under a key, to be written with the effect itself."""
        return self._put(key, encode(value))

    async def routed(self) -> Call | None:
        """The last call that routing made in an earlier run, if this one has not come to it yet."""
        calls = await self.calls()
        routed = [call for call in calls if call.routed and call.number > self._number]
        return max(routed, key=lambda call: call.number, default=None)

    async def called(self, skill: str, activity: Activity) -> Call | None:
        """The call with which an earlier run posted this activity, to any skill if none is named;
        each is found once."""
        mark = mark_of(activity)
        for call in sorted(await self.calls(), key=lambda call: call.number):
            is_to = skill in ("", call.skill) and call.about == mark
            if is_to and call.key not in self._gone_on:
                return call
        return None

    def begun(self, call: Call) -> Put:
        """The change that records a call, to be written before it is made."""
        return self._put(call.key, call.encode(), call.about[1])

    def failed(self, call: Call, code: str) -> Call:
        """A call that has failed, to be recorded when that is acted upon."""
        return replace(call, failed=code, counted=self._number)

    def has_gone_on(self, call: Call) -> bool:
        """True if this run has come to a call of an earlier one."""
        return call.key in self._gone_on

    def resumed(self, call: Call) -> None:
        """Count on from a call of an earlier run."""
        self._gone_on.add(call.key)
        self._number = max(self._number, call.number, call.counted)

    def ended(self, call: Call, response: Any, *, answered: tuple[str, ...] = ()) -> Call:
        """Note that a call has ended; as it is noted."""
        done = replace(call, done=True, response=response, counted=self._number, answered=answered)
        self._noted[call.key] = self.begun(done)
        return done

    async def calls(self) -> list[Call]:
        recorded = await self._recorded()
        """The calls of earlier runs."""
        return [
            Call.parse(key, found["call"]) for key, found in recorded.items() if "call" in found
        ]

    async def _recorded(self) -> dict[str, Any]:
        """What earlier runs have recorded, by key; the first run reads nothing."""
        if not self.again:
            return {}
        if self._earlier is None:
            records = await self._store.scan(KIND, f"{self._key}#", limit=MOST)
            self._earlier = {
                record.key: decode(self._sealing.opened(record.key, record.body))
                for record in records
            }
            self._written.update(self._earlier)
        return self._earlier

    def _put(self, key: str, body: bytes, called: str = "") -> Put:
        self._written.add(key)
        body = self._sealing.closed(key, body, self._name, called)
        return Put(KIND, key, body, expires=self._expires)
