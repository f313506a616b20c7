"""Root processes that share a store, users who talk through them, and their sudden deaths.

Lab, channel and skill stay up; a balancer on loopback spreads the requests over the roots. The
channel delivers again what nobody took, as channels do, with the same activity id.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

import skills
from skills_host.errors import TransportFailed
from skills_host.lab.chat import LabClient, opened_chat
from skills_host.lab.console import Console
from skills_host.lab.world import Inhabitant, ProcessWorld, free_port
from skills_host.transport import Client, allow_loopback

__all__ = [
    "FAILED",
    "LOST",
    "Abroad",
    "Fleet",
    "Report",
    "delivered",
    "lived",
    "shown",
    "started",
    "user",
]

APP_ID = "a0000000-0000-4000-8000-0000000000{:02x}"
LOST = "lost my thread"
CLOSING = "@closing "  # what begins so is for the skill that ends at once
FAILED = "not available right now"  # its skill could not be heard by the root that has died
BOTS = Path(__file__).parent / "bots"
PER_SECOND = 40  # messages of all users; more than that is a bench


Front = Callable[[int, list[int]], AbstractAsyncContextManager[None]]
"""Spreads what comes to a port over others, for as long as it lasts."""


class Balancer:
    """Passes connections on to the roots in turn; one that cannot be reached is left out."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = ports
        self._turn = cycle(range(len(ports)))

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = next(self._turn)
        for port in (*self._ports[first:], *self._ports[:first]):
            with suppress(OSError):
                back, forth = await asyncio.open_connection("127.0.0.1", port)
                await asyncio.gather(self._copy(reader, forth), self._copy(back, writer))
                return
        writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


class Fleet(ProcessWorld):
    """A world whose roots share a store and an address."""

    store_url = ""
    coordination: Mapping[str, str] = MappingProxyType({})
    public_url = ""
    retry = "safe"

    def _settings(self, bot: Inhabitant) -> dict[str, Any]:
        settings = super()._settings(bot)
        if bot.kind == "root":
            settings["host"]["public_url"] = self.public_url
            settings["store"]["url"] = self.store_url
            settings["coordination"] = dict(self.coordination)
            settings["bots"] = {"root": settings["bots"][bot.name]}
            settings["bots"]["root"]["app_id"] = self.root.app_id
            settings["bots"]["root"]["credential"] = {"secret": self.root.secret}
            settings["skills"] = {
                skill.name: {**_where(skill), "phrases": list(skill.phrases), "retry": self.retry}
                for skill in self.skills
            }
        settings["host"]["limits"] = {"lease_seconds": 3}
        return settings


def _where(skill: Inhabitant) -> dict[str, str]:
    """A skill of the package has a manifest; of another all that is known is its address."""
    if skill.file is not None and skill.file.parent != BOTS:
        return {"manifest": f"manifests/{skill.name}.json"}
    return {"endpoint": f"{skill.url}/api/messages", "app_id": skill.app_id}


@dataclass(frozen=True, slots=True)
class Abroad:
    """A lab and a skill that run already, and the root that both know."""

    lab_url: str
    lab: LabClient
    root: Inhabitant
    skill: Inhabitant


@dataclass
class Report:
    """What happened, and what every user was told; `skill` is the name that they call it by.

    Every third message is for the skill that ends at once, if there is one (`closing`).
    """

    skill: str = "echo"
    closing: bool = False
    kills: int = 0
    again: int = 0
    said: dict[str, list[str]] = field(default_factory=dict)
    heard: dict[str, list[str]] = field(default_factory=dict)

    def odd(self) -> list[str]:
        """Everything that was said beside the answers, and what was not answered."""
        lines = []
        for name, texts in self.said.items():
            answers = {answer for text in texts for answer in answers_to(text)}
            lines += [f"{name} heard: {text}" for text in self.heard[name] if text not in answers]
            lines += [f"{name} not answered: {a}" for a in answers - set(self.heard[name])]
        return lines

    def counts(self) -> dict[str, int]:
        """How many messages were answered once, and what else there was."""
        found: Counter[str] = Counter(messages=0, answered=0, missing=0, doubled=0, strange=0)
        for user, texts in self.said.items():
            heard = Counter(self.heard[user])
            wanted = [answer for text in texts for answer in answers_to(text)]
            found["messages"] += len(texts)
            missed = [text for text in texts if not set(answers_to(text)) <= set(heard)]
            found["answered"] += len(texts) - len(missed)
            for answer in wanted:
                found["doubled"] += heard.pop(answer, 0) > 1
            told = sum(n for text, n in heard.items() if LOST in text or FAILED in text)
            found["missing"] += len(missed)
            found["told of a loss"] += told
            found["strange"] += sum(heard.values()) - told
            found["not told"] += max(0, len(missed) - told)
            found["not answered at last"] += texts[-1:] == missed[-1:]
            order = [text for text in self.heard[user] if text in wanted]
            found["out of order"] += order != sorted(order, key=wanted.index)
        return {**found, "kills": self.kills, "delivered again": self.again}


def answers_to(text: str) -> list[str]:
    """What a user is to hear, in this order: of the skill, and of the root when it has ended."""
    if text.startswith(CLOSING):
        return [f"{says}: {text.removeprefix(CLOSING)}" for says in ("Done", "Bye")]
    return [f"Echo: {text}"]


async def delivered(console: Console, activity: dict[str, Any], report: Report) -> None:
    """Deliver an activity until a root takes it."""
    for _ in range(200):
        try:
            if (await console.post(activity, timeout=15)).status in (200, 202):
                return
        except TransportFailed:
            pass
        report.again += 1
        await asyncio.sleep(0.2)
    raise AssertionError("no root took a message")


async def user(
    console: Console, name: str, report: Report, over: asyncio.Event, *, thinking: float
) -> None:
    """Say one message after the other, each so many seconds after the last was answered."""
    console.open(name, user=name)
    report.said[name] = []
    while not over.is_set():
        await _said(console, name, report)
        await asyncio.sleep(thinking)


async def _said(console: Console, name: str, report: Report) -> None:
    """Say the next message, and wait until as much is heard as there is to hear."""
    said, transcript = report.said[name], console.open(name).transcript
    # Whoever is told that a skill was lost begins with it again.
    number = len(said) + 1
    text = f"{report.skill} {name} #{number}"
    if report.closing and number % 3 == 0:
        text = f"{CLOSING}{name} #{number}"
    said.append(text)
    known = len(transcript.entries) + len(answers_to(text)) - 1
    await delivered(console, console.activity(text, user=name, conversation=name), report)
    with suppress(TimeoutError):
        async with asyncio.timeout(20):
            await transcript.next_entry(after=known)


async def killing(fleet: Fleet, roots: list[Inhabitant], report: Report, rest: float) -> None:
    """Kill one root after the other, and start it again; each lives for at most `rest` seconds."""
    chance = random.Random(7)
    while True:
        await asyncio.sleep(chance.uniform(rest / 6, rest))
        root = chance.choice(roots)
        await fleet.stop(root.name, kill=True)
        report.kills += 1
        await asyncio.sleep(chance.uniform(0.0, 1.0))
        await fleet.start_bot(root)


@asynccontextmanager
async def relayed(port: int, ports: list[int]) -> AsyncIterator[None]:
    """The test's own balancer."""
    server = await asyncio.start_server(Balancer(ports), "127.0.0.1", port)
    yield
    server.close()


@asynccontextmanager
async def started(
    folder: Path,
    *,
    roots: int,
    store_url: str,
    retry: str = "safe",
    coordination: Mapping[str, str] = MappingProxyType({}),
    front: Front = relayed,
    abroad: Abroad | None = None,
    closing: bool = False,
) -> AsyncIterator[tuple[Fleet, list[Inhabitant], Console]]:
    """Lab, skill, roots, balancer and channel; the first two unless they run `abroad`.

    With a second skill, `closing`, the roots have code of their own for its ends.
    """
    taken: set[int] = set()
    ports = [free_port(0, taken=taken) for _ in range(roots + 3)]
    files = Path(skills.__file__).parent
    inhabitants = [Inhabitant("echo", "skill", APP_ID.format(2), ports[0], files / "echo.py")]
    root = Inhabitant("root", "root", APP_ID.format(1), ports[3])
    if abroad is not None:
        inhabitants, root = [abroad.skill], abroad.root
    if closing:
        port, file = free_port(0, taken=taken), BOTS / "closing.py"
        inhabitants.append(Inhabitant("closing", "skill", APP_ID.format(3), port, file))
    code = BOTS / "farewell.py" if closing else None
    fleet_roots = [
        Inhabitant(f"root{n}", "root", root.app_id, port, code) for n, port in enumerate(ports[3:])
    ]
    send = Client(guard=allow_loopback)
    fleet = Fleet(folder, send=send, root=root, skills=inhabitants)
    # A balancer with nobody behind it breaks off what a lone root would have refused.
    front_port = ports[2] if roots > 1 else ports[3]
    fleet.store_url, fleet.public_url = store_url, f"http://127.0.0.1:{front_port}"
    fleet.retry, fleet.coordination = retry, coordination
    async with front(ports[2], ports[3:]), fleet:
        if abroad is None:
            await fleet.start_lab(ports[1])
            fleet._render(files.parent / "manifests", inhabitants[0])
            await asyncio.gather(*map(fleet.start_bot, inhabitants))
            lab = LabClient(send, lab_url=fleet.lab_url, mint_secret=fleet.mint_secret)
        else:
            fleet.lab_url, lab = abroad.lab_url, abroad.lab
        await asyncio.gather(*map(fleet.start_bot, fleet_roots))
        async with opened_chat(
            lab,
            bot_url=fleet.public_url,
            bot_app_id=fleet.root.app_id,
            port=0,
            send=send,
            user="nobody",
        ) as talk:
            yield fleet, fleet_roots, talk._console
    await send.close()


async def lived(
    folder: Path,
    *,
    roots: int,
    users: int,
    seconds: float,
    rest: float = 3.0,
    quiet: float = 8.0,
    skill: str = "echo",
    closing: bool = False,
    **settings: Any,
) -> Report:
    """What came of so many users, while the roots die; when it is quiet, each says one thing more.

    That is so many seconds after the last death: what was left is taken up within the lease.
    """
    report, over = Report(skill, closing), asyncio.Event()
    async with started(folder, roots=roots, closing=closing, **settings) as world:
        fleet, inhabitants, console = world
        names = [f"u{n}" for n in range(users)]
        thinking = users / PER_SECOND
        talking = [
            asyncio.create_task(user(console, name, report, over, thinking=thinking))
            for name in names
        ]
        dying = asyncio.create_task(killing(fleet, inhabitants, report, rest))
        await asyncio.sleep(seconds)
        over.set()
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
        for root in inhabitants:
            if root.name not in fleet._started:
                await fleet.start_bot(root)
        await asyncio.gather(*talking)
        # What was taken (202) may still be under way.
        await asyncio.sleep(quiet)
        await asyncio.gather(*(_said(console, name, report) for name in names))
        for name in names:
            entries = console.open(name).transcript.entries
            report.heard[name] = [entry.text for entry in entries]
    return report


def shown(report: Report, capsys: pytest.CaptureFixture[str]) -> dict[str, int]:
    """A report's counts, printed."""
    counts = report.counts()
    with capsys.disabled():
        sys.stdout.write(f"\n{counts}\n")
    return counts
