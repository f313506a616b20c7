"""Root processes that are killed at random under load: each user gets each answer once, in order.

Lab, channel and skill stay up; a balancer on loopback spreads the requests over the roots. The
channel delivers again what nobody took, as channels do, with the same activity id.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
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
from tests.store.conftest import empty_schema
from tests.store.redis import REDIS, own_prefix

pytestmark = pytest.mark.durability

SECONDS = float(os.environ.get("SKILLS_HOST_KILL_SECONDS", "60"))
APP_ID = "a0000000-0000-4000-8000-0000000000{:02x}"
LOST = "lost my thread"
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
                skill.name: {
                    "manifest": f"manifests/{skill.name}.json",
                    "phrases": list(skill.phrases),
                    "retry": self.retry,
                }
                for skill in self.skills
            }
        settings["host"]["limits"] = {"lease_seconds": 3}
        return settings


@dataclass
class Report:
    """What happened, and what every user was told."""

    kills: int = 0
    again: int = 0
    said: dict[str, list[str]] = field(default_factory=dict)
    heard: dict[str, list[str]] = field(default_factory=dict)

    def odd(self) -> list[str]:
        """Everything that was said beside the answers, and what was not answered."""
        lines = []
        for name, texts in self.said.items():
            answers = {f"Echo: {text}" for text in texts}
            lines += [f"{name} heard: {text}" for text in self.heard[name] if text not in answers]
            lines += [f"{name} not answered: {a}" for a in answers - set(self.heard[name])]
        return lines

    def counts(self) -> dict[str, int]:
        """How many messages were answered once, and what else there was."""
        found: Counter[str] = Counter(messages=0, answered=0, missing=0, doubled=0, strange=0)
        for user, texts in self.said.items():
            heard = Counter(self.heard[user])
            found["messages"] += len(texts)
            for text in texts:
                times = heard.pop(f"Echo: {text}", 0)
                found["answered"] += times > 0
                found["missing"] += times == 0
                found["doubled"] += times > 1
            found["told of a loss"] += sum(n for text, n in heard.items() if LOST in text)
            found["strange"] += sum(n for text, n in heard.items() if LOST not in text)
            order = [text for text in self.heard[user] if text.startswith("Echo: ")]
            found["out of order"] += order != sorted(order, key=_number)
        return {**found, "kills": self.kills, "delivered again": self.again}


def _number(text: str) -> int:
    found = re.search(r"#(\d+)$", text)
    return int(found[1]) if found else 0


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
    transcript = console.open(name, user=name).transcript
    said = report.said[name] = []
    while not over.is_set():
        # Whoever is told that a skill was lost begins with it again.
        text = f"echo {name} #{len(said) + 1}"
        said.append(text)
        known = len(transcript.entries)
        await delivered(console, console.activity(text, user=name, conversation=name), report)
        with suppress(TimeoutError):
            async with asyncio.timeout(20):
                await transcript.next_entry(after=known)
        await asyncio.sleep(thinking)


async def killing(fleet: Fleet, roots: list[Inhabitant], report: Report, seed: int) -> None:
    """Kill one root after the other, and start it again."""
    chance = random.Random(seed)
    while True:
        await asyncio.sleep(chance.uniform(0.5, 3.0))
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
) -> AsyncIterator[tuple[Fleet, list[Inhabitant], Console]]:
    """Lab, skill, roots, balancer and channel."""
    taken: set[int] = set()
    ports = [free_port(0, taken=taken) for _ in range(roots + 3)]
    files = Path(skills.__file__).parent
    skill = Inhabitant("echo", "skill", APP_ID.format(2), ports[0], files / "echo.py")
    fleet_roots = [
        Inhabitant(f"root{n}", "root", APP_ID.format(1), port) for n, port in enumerate(ports[3:])
    ]
    send = Client(guard=allow_loopback)
    fleet = Fleet(folder, send=send, root=fleet_roots[0], skills=[skill])
    # A balancer with nobody behind it breaks off what a lone root would have refused.
    front_port = ports[2] if roots > 1 else ports[3]
    fleet.store_url, fleet.public_url = store_url, f"http://127.0.0.1:{front_port}"
    fleet.retry, fleet.coordination = retry, coordination
    async with front(ports[2], ports[3:]), fleet:
        await fleet.start_lab(ports[1])
        fleet._render(files.parent / "manifests", skill)
        await asyncio.gather(*map(fleet.start_bot, (skill, *fleet_roots)))
        lab = LabClient(send, lab_url=fleet.lab_url, mint_secret=fleet.mint_secret)
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
    folder: Path, *, roots: int, users: int, seconds: float = SECONDS, **settings: Any
) -> Report:
    """What came of so many users, while the roots die."""
    report, over = Report(), asyncio.Event()
    async with started(folder, roots=roots, **settings) as world:
        fleet, inhabitants, console = world
        names = [f"u{n}" for n in range(users)]
        thinking = users / PER_SECOND
        talking = [
            asyncio.create_task(user(console, name, report, over, thinking=thinking))
            for name in names
        ]
        dying = asyncio.create_task(killing(fleet, inhabitants, report, seed=7))
        await asyncio.sleep(seconds)
        over.set()
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
        for root in inhabitants:
            if root.name not in fleet._started:
                await fleet.start_bot(root)
        await asyncio.gather(*talking)
        # What was taken (202) may still be under way.
        await asyncio.sleep(8)
        for name in names:
            entries = console.open(name).transcript.entries
            report.heard[name] = [entry.text for entry in entries]
    return report


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Callable[[Report], dict[str, int]]:
    """Prints a report's counts, and gives them."""

    def shown(report: Report) -> dict[str, int]:
        counts = report.counts()
        with capsys.disabled():
            sys.stdout.write(f"\n{counts}\n")
        return counts

    return shown


Show = Callable[[Report], dict[str, int]]


@pytest.mark.timeout(300)
async def test_one_root_on_sqlite_may_be_killed_at_any_time(tmp_path: Path, show: Show) -> None:
    report = await lived(tmp_path, roots=1, users=20, store_url="sqlite:///shared.db")
    counts = show(report)

    assert (report.odd(), counts["doubled"], counts["out of order"]) == ([], 0, 0)
    assert counts["kills"] > 0


@pytest.mark.timeout(300)
async def test_four_roots_on_postgresql_with_redis_may_be_killed_at_any_time(
    tmp_path: Path, show: Show
) -> None:
    async with empty_schema() as url, own_prefix() as prefix:
        told = {"url": REDIS, "prefix": prefix}
        report = await lived(tmp_path, roots=4, users=200, store_url=url, coordination=told)
    counts = show(report)

    assert (report.odd(), counts["doubled"], counts["out of order"]) == ([], 0, 0)
    assert counts["kills"] > 0


@pytest.mark.timeout(300)
async def test_a_skill_that_must_not_get_it_twice_gives_one_answer_at_most(
    tmp_path: Path, show: Show
) -> None:
    """As with a skill of an SDK; whoever gets none is told so."""
    report = await lived(
        tmp_path,
        roots=1,
        seconds=SECONDS / 3,
        users=20,
        store_url="sqlite:///shared.db",
        retry="never",
    )
    counts = show(report)

    assert [line for line in report.odd() if LOST not in line and "not answered" not in line] == []
    assert (counts["doubled"], counts["out of order"]) == (0, 0)
    assert counts["missing"] <= counts["told of a loss"]
    assert counts["kills"] > 0
