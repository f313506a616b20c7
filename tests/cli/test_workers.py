"""`serve --workers`: processes that share an address, one of which may die."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import skills
from skills_host.cli.terminal import Exit
from skills_host.cli.workers import inherited, pause_before
from skills_host.errors import TransportFailed
from skills_host.lab.chat import Chat, LabClient, opened_chat
from skills_host.lab.world import Inhabitant, ProcessWorld, free_port, toml_of
from skills_host.store.heartbeats import Heartbeat, living
from skills_host.store.sqlite import SqliteStore
from skills_host.transport import Client, allow_loopback
from tests.cli.test_commands import ran, tables

COUNT = 3
APP_ID = "a0000000-0000-4000-8000-0000000000{:02x}"

processes = pytest.mark.processes


class Crowd(ProcessWorld):
    """A world whose root has several processes."""

    async def _start(self, name: str, arguments: list[str], environ: Any) -> None:
        more = ["--workers", str(COUNT)] if name == self.root.name else []
        await super()._start(name, [*arguments, *more], environ)

    @property
    def supervisor(self) -> asyncio.subprocess.Process:
        """The root's first process."""
        return self._started[self.root.name].process

    async def hosts(self, fits: Callable[[list[Heartbeat]], bool]) -> list[Heartbeat]:
        """The processes that serve, as soon as they fit."""
        store = SqliteStore(self.folder / "root.db")
        await store.open()
        try:
            async with asyncio.timeout(30):
                while not fits(found := await living(store)):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            return found
        finally:
            await store.close()


@pytest.fixture
async def crowd(tmp_path: Path) -> AsyncIterator[Crowd]:
    taken: set[int] = set()
    ports = [free_port(0, taken=taken) for _ in range(3)]
    files = Path(skills.__file__).parent
    echo = Inhabitant("echo", "skill", APP_ID.format(2), ports[0], files / "echo.py")
    root = Inhabitant("root", "root", APP_ID.format(1), ports[1])
    send = Client(guard=allow_loopback)
    async with Crowd(tmp_path, send=send, root=root, skills=[echo]) as world:
        await world.start_lab(ports[2])
        await world.start_bots(files.parent / "manifests")
        yield world
    await send.close()


@pytest.fixture
async def chat(crowd: Crowd) -> AsyncIterator[Chat]:
    lab = LabClient(crowd._send, lab_url=crowd.lab_url, mint_secret=crowd.mint_secret)
    async with opened_chat(
        lab,
        bot_url=crowd.root.url,
        bot_app_id=crowd.root.app_id,
        port=0,
        send=crowd._send,
        user="ann",
    ) as opened:
        yield opened


async def answers(chat: Chat, *texts: str) -> list[str]:
    """What is said to each of the texts; those that nobody took are said again."""
    said: list[str] = []
    for text in texts:
        while True:
            try:
                exchange = await chat.say(text)
                break
            except TransportFailed:
                continue
        said += [answer.text for answer in exchange.answers]
    return said


@processes
async def test_workers_share_the_address_and_one_may_die(crowd: Crowd, chat: Chat) -> None:
    first = await crowd.hosts(lambda found: len(found) == COUNT)
    assert await answers(chat, "echo", "one") == ["Echo: echo", "Echo: one"]
    os.kill(first[0].pid, signal.SIGKILL)
    assert await answers(chat, "two", "three") == ["Echo: two", "Echo: three"]

    known = {beat.pid for beat in first}
    again = await crowd.hosts(lambda found: bool({beat.pid for beat in found} - known))
    assert {beat.machine for beat in again} == {first[0].machine}
    assert await answers(chat, "four") == ["Echo: four"]
    assert crowd.supervisor.returncode is None
    assert "a worker has ended with -9" in crowd._started["root"].log.read_text()


@processes
async def test_a_stop_ends_all_gracefully(crowd: Crowd) -> None:
    """Each takes its heartbeat back."""
    await crowd.hosts(lambda found: len(found) == COUNT)
    crowd.supervisor.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        status = await crowd.supervisor.wait()

    assert status == Exit.DONE
    assert await crowd.hosts(lambda found: not found) == []
    assert "Traceback" not in crowd._started["root"].log.read_text()


@processes
async def test_workers_do_not_outlive_their_supervisor(crowd: Crowd) -> None:
    await crowd.hosts(lambda found: len(found) == COUNT)
    crowd.supervisor.kill()

    assert await crowd.hosts(lambda found: not found) == []


@processes
async def test_what_keeps_a_worker_from_starting_is_said_once(tmp_path: Path) -> None:
    config = tmp_path / "skills-host.toml"
    port = free_port(0, taken=set())
    (tmp_path / "host.db").mkdir()
    settings = tables(
        host={"bind": f"127.0.0.1:{port}"}, store={"url": "sqlite:///host.db"}, skills={}
    )
    config.write_text(toml_of(settings), encoding="utf-8")
    command = [sys.executable, "-m", "skills_host.cli", "serve", "--workers", "3"]
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, "--config", str(config)],
        env={**os.environ, "SECRET": "hush-hush"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == Exit.SAID_NO
    assert done.stderr.count("skills-host: settings: store.url: cannot use") == 1


def test_an_address_that_is_taken_is_said_at_once(tmp_path: Path) -> None:
    config = tmp_path / "skills-host.toml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        config.write_text(toml_of(tables(host={"bind": bind})), encoding="utf-8")
        result = ran("serve", "--workers", "2", "--config", str(config))

    assert result.exit_code == Exit.UNREACHABLE
    assert f"cannot listen on {bind}" in result.output


def test_pauses_between_starts_grow_and_end_somewhere() -> None:
    pauses = [pause_before(trial) for trial in range(100)]

    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[1], pauses[-1]) == (0.0, 0.2, 30.0)


def test_a_process_of_its_own_has_inherited_nothing() -> None:
    assert inherited(None, None) is None
    assert inherited(3, 4) is not None
