"""Which processes use a store: each keeps a record of itself while it lives.

Processes of one machine find each other's work by themselves. Those of two machines have to be
told to be two: each has to have the others' coordination, or it does not start.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path

from skills_host.errors import SettingsError, SkillsHostError
from skills_host.store.records import Delete, Put, Store
from skills_host.wire import decode, encode

__all__ = ["Heartbeat", "Heartbeats", "Machine", "check_machines", "living", "this_machine"]

log = logging.getLogger(__name__)

BEAT = 5.0  # seconds between two beats
BOOT_ID = "/proc/sys/kernel/random/boot_id"
KIND = "heartbeat"
LIFE = 20.0  # seconds after the last beat in which a process counts as living
MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")
MOST = 1000  # processes that are looked at


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine and the run of its system: `boot` is empty where that has no name."""

    id: str
    boot: str = ""

    def is_same(self, other: Machine) -> bool:
        """True if processes of both can share a file: one run of one system.

        Machines that were copied from one image have the same id; no two have the same run.
        """
        if self.boot and other.boot:
            return self.boot == other.boot
        return self.id == other.id


def this_machine(*, machine_ids: Iterable[str] = MACHINE_IDS, boot_id: str = BOOT_ID) -> Machine:
    """This machine, by names that are made from the system's own and tell nothing of them."""
    found = next(filter(None, map(_content, machine_ids)), "") or f"{uuid.getnode():x}"
    boot = _content(boot_id)
    return Machine(_digest(found), _digest(boot) if boot else "")


def _content(path: str) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return Path(path).read_text(encoding="utf-8").strip()
    return ""


def _digest(text: str) -> str:
    # A machine's id is for those who are on it.
    return blake2b(text.encode(), digest_size=8, person=b"skills-host").hexdigest()


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A process that uses the store; times in seconds since the epoch.

    `coordinated` if it wakes others, and is woken, through something that all of them reach.
    """

    host: str
    machine: Machine
    pid: int
    started: float
    renewed: float
    version: str
    coordinated: bool

    def encode(self) -> bytes:
        """The heartbeat as it is stored, under `host`."""
        members = {name: getattr(self, name) for name in MEMBERS}
        return encode(members | {"machine": self.machine.id, "boot": self.machine.boot})

    @classmethod
    def parse(cls, host: str, body: bytes) -> Heartbeat:
        """The heartbeat from its own `encode()`."""
        members = decode(body)
        machine = Machine(members["machine"], members["boot"])
        return cls(host=host, machine=machine, **{name: members[name] for name in MEMBERS})


MEMBERS = ("pid", "started", "renewed", "version", "coordinated")


def check_machines(own: Heartbeat, others: Iterable[Heartbeat], *, now: float) -> None:
    """Raise `SettingsError` where a host of another machine lives and either has no coordination.

    Pure.
    """
    for other in others:
        if own.machine.is_same(other.machine) or (own.coordinated and other.coordinated):
            continue
        left = max(1, round(other.renewed + LIFE - now))
        who = "this one" if not own.coordinated else "the other"
        raise SettingsError(
            f"coordination.url: another machine uses this store (its process {other.pid}), and"
            f" {who} has no [coordination]: both need it. If the other has died, try again in"
            f" {left} s"
        )


async def living(store: Store) -> list[Heartbeat]:
    """The processes that use a store, the oldest first."""
    found = await store.scan(KIND, limit=MOST)
    beats = [Heartbeat.parse(record.key, record.body) for record in found]
    return sorted(beats, key=lambda beat: (beat.started, beat.host))


class Heartbeats:
    """The heartbeat of the process `host`, from `open` to `close`."""

    def __init__(
        self,
        store: Store,
        *,
        host: str,
        machine: Machine,
        pid: int,
        coordinated: bool,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._host = host
        self._machine = machine
        self._pid = pid
        self._coordinated = coordinated
        self._now = now
        self._started = now()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to live. Raises `SettingsError` (`coordination.url`) where that cannot be."""
        own = await self._beat()
        # Who looks after it has written sees, of two that start at once, at least one the other.
        others = [beat for beat in await living(self._store) if beat.host != self._host]
        try:
            check_machines(own, others, now=self._now())
        except SettingsError:
            await self._end()
            raise
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Live no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._end()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            try:
                await self._beat()
            except SkillsHostError as exc:
                log.error("the host's heartbeat could not be stored: %s", exc.code)

    async def _beat(self) -> Heartbeat:
        now = self._now()
        beat = Heartbeat(
            host=self._host,
            machine=self._machine,
            pid=self._pid,
            started=self._started,
            renewed=now,
            version=version("skills-host"),
            coordinated=self._coordinated,
        )
        await self._store.write([Put(KIND, self._host, beat.encode(), expires=now + LIFE)])
        return beat

    async def _end(self) -> None:
        with suppress(SkillsHostError):
            await self._store.write([Delete(KIND, self._host)])
