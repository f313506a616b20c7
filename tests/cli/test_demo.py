"""The demo as its user runs it: real processes, real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from skills_host.cli.demo import PORTS
from skills_host.lab.chat import Answered, Exchange

pytestmark = pytest.mark.processes

DEMO = (sys.executable, "-m", "skills_host.cli", "demo")
SECONDS = 60


async def started(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    """The demo in a folder of its own, without a terminal."""
    return await asyncio.create_subprocess_exec(
        *DEMO,
        *arguments,
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def played(folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit status and output of a whole run."""
    process = await started(folder, *arguments)
    async with asyncio.timeout(SECONDS):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode() or errors.decode()


def transcript(output: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """What was said, and by whom it was answered."""
    document: dict[str, Any] = json.loads(output)
    return [
        (exchange["said"], [(answer["bot"], answer["text"]) for answer in exchange["answers"]])
        for exchange in document["transcript"]
    ]


async def test_lines_are_played(tmp_path: Path) -> None:
    """Each bot speaks for itself, also where a port of the demo's is taken."""
    with closing(socket.socket()) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # it may be taken already
            other.bind(("127.0.0.1", PORTS["root"]))
            other.listen()
        status, output = await played(
            tmp_path, "--json", "--say", "book a trip", "--say", "Lisbon", "--say", "cancel"
        )

    assert status == 0
    assert transcript(output) == [
        ("book a trip", [("booking", "Where do you want to go?")]),
        ("Lisbon", [("booking", "On which day? (YYYY-MM-DD)")]),
        ("cancel", [("root", "Booking was cancelled.")]),
    ]


async def test_ctrl_c_ends_all_that_was_started(tmp_path: Path) -> None:
    """No process and no open port is left."""
    process = await started(tmp_path)
    assert process.stdout is not None
    async with asyncio.timeout(SECONDS):
        first = (await process.stdout.readline()).decode()
        ports = re.findall(r"127\.0\.0\.1:(\d+)", first)
        while len(ports) < 4:
            ports += re.findall(r"127\.0\.0\.1:(\d+)", (await process.stdout.readline()).decode())
        process.send_signal(signal.SIGINT)
        await process.communicate()

    assert process.returncode == 0
    assert not [port for port in ports if listens(int(port))]


def listens(port: int) -> bool:
    """True if something accepts connections there."""
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("status", "answers", "expected"),
    [
        (200, (Answered("echo", "Echo: hi", 3.0),), True),
        (200, (), False),
        (502, (Answered("root", "Sorry", 3.0),), False),
    ],
)
def test_what_went_unanswered_is_known(
    status: int, answers: tuple[Answered, ...], expected: bool
) -> None:
    """Words count as answered if they were taken and something was said."""
    assert Exchange("hi", status, answers).is_answered is expected
