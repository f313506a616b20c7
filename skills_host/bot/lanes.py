"""Order within a session: one turn after the other, first come first served, on every replica.

A lane is a stream of the store: a turn joins it with the record of its activity, is next when
nothing before it is left, and leaves with the record of its answer.
"""

from __future__ import annotations

import asyncio

from skills_host.errors import TooBusy
from skills_host.store.coordination import Coordination, LocalCoordination, woken
from skills_host.store.records import Append, Delete, Store, element_key

__all__ = ["KIND", "Lanes", "topic_of"]

KIND = "lane"
NOBODY = 10**12  # after every place that a turn may have
WAITING = 1000  # turns of a lane that are looked through


class Lanes:
    """The lanes of one process's turns; a lane is order, not a lock on anything.

    In each, at most `most` turns of this process wait. `coordination` tells when one has ended.
    """

    def __init__(
        self, store: Store, *, most: int, coordination: Coordination | None = None
    ) -> None:
        self._store = store
        self._coordination = coordination or LocalCoordination()
        self._most = most
        self._here: dict[str, dict[int, asyncio.Event]] = {}

    @property
    def waiting(self) -> int:
        """The sessions in which a turn of this process waits for the one before it."""
        return len(self._here)

    def join(self, session: str, key: str, *, expires: float) -> Append:
        """The change that puts the turn `key` behind those that are there.

        Its number is the turn's place. Raises `TooBusy` where too many wait.
        """
        if len(self._here.get(session, ())) >= self._most:
            raise TooBusy()
        return Append(KIND, _stream(session), key.encode(), expires=expires)

    def leave(self, session: str, place: int) -> Delete:
        """The change that lets the next one go."""
        return Delete(KIND, element_key(_stream(session), place))

    async def next(self, session: str, place: int) -> None:
        """Wait until everything before `place` has left."""
        if place == 1:
            return
        here = self._here.setdefault(session, {})
        event = here[place] = asyncio.Event()
        stop = self._coordination.listen(topic_of(session), lambda: self._tell_first(session))
        try:
            while await self._first(session) < place:
                await woken(event, within=self._coordination.patience)
        finally:
            stop()
            del here[place]
            if not here:
                self._here.pop(session, None)

    def left(self, session: str) -> None:
        """Tell whoever is next, in whichever process, that one before it may have left."""
        self._coordination.wake(topic_of(session))

    def _tell_first(self, session: str) -> None:
        """Let only the next turn of this process look: those behind it have to wait for it."""
        here = self._here.get(session)
        if here:
            here[min(here)].set()

    async def place_of(self, session: str, key: str) -> int | None:
        """The place of a turn that joined earlier; None if it is not there any more."""
        for element in await self._store.scan(KIND, f"{_stream(session)}/", limit=WAITING):
            if element.body == key.encode():
                return _place(element.key)
        return None

    async def _first(self, session: str) -> int:
        found = await self._store.scan(KIND, f"{_stream(session)}/", limit=1)
        return _place(found[0].key) if found else NOBODY


def topic_of(session: str) -> str:
    """What is told when a turn of the session has ended, and its answer is stored."""
    return f"lane/{session}"


def _place(key: str) -> int:
    return int(key.rpartition("/")[2])


def _stream(session: str) -> str:
    # No session's key has a colon: one that begins like another is not its lane.
    return f"{session}:"
