"""Processes of a test session: started once, each with a log, all ended together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from skills_host.errors import TransportFailed
from skills_host.transport import Request, Send

__all__ = ["REPOSITORY", "Processes"]

REPOSITORY = Path(__file__).parents[2]
READY_SECONDS = 60.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Running:
    """A process, and the task that reads what it still prints."""

    process: asyncio.subprocess.Process
    log: BinaryIO
    rest: asyncio.Task[bytes]


class Processes:
    """Processes by name; their standard error, or all they print, goes to `folder/NAME.log`."""

    def __init__(self, folder: Path, *, send: Send) -> None:
        self._folder = folder
        self._send = send
        self._running: dict[str, Running] = {}

    async def announced(
        self, name: str, command: Sequence[str], environ: Mapping[str, str], *, last: str
    ) -> str:
        """Start a process and return what it prints up to a line that begins with `last`."""
        process, log = await self._started(name, command, environ)
        assert process.stdout is not None
        try:
            async with asyncio.timeout(READY_SECONDS):
                printed = await _printed(process.stdout, last=last)
        finally:
            self._keep(name, process, log)
        assert printed, f"{name} did not get ready; see {log.name}"
        return printed

    async def answering(
        self, name: str, command: Sequence[str], environ: Mapping[str, str], *, url: str
    ) -> None:
        """Start a process and wait until a GET of `url` succeeds."""
        process, log = await self._started(name, command, environ)
        self._keep(name, process, log)
        async with asyncio.timeout(READY_SECONDS):
            while not await self._is_answering(url):
                assert process.returncode is None, f"{name} ended at once; see {log.name}"
                await asyncio.sleep(POLL_SECONDS)

    async def stop(self) -> None:
        """End all of them, gracefully if they can."""
        await asyncio.gather(*map(_stopped, self._running.values()))
        self._running.clear()

    async def _started(
        self, name: str, command: Sequence[str], environ: Mapping[str, str]
    ) -> tuple[asyncio.subprocess.Process, BinaryIO]:
        log = (self._folder / f"{name}.log").open("wb")
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=REPOSITORY,
            env=dict(environ),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
        return process, log

    def _keep(self, name: str, process: asyncio.subprocess.Process, log: BinaryIO) -> None:
        assert process.stdout is not None
        rest = asyncio.create_task(process.stdout.read())
        self._running[name] = Running(process, log, rest)

    async def _is_answering(self, url: str) -> bool:
        try:
            return (await self._send(Request("GET", url, timeout=5))).ok
        except TransportFailed:
            return False


async def _printed(output: asyncio.StreamReader, *, last: str) -> str:
    text = ""
    async for line in output:
        text += line.decode()
        if line.decode().startswith(last):
            return text
    return ""


async def _stopped(running: Running) -> None:
    process = running.process
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
    running.log.write(await running.rest)
    running.log.close()
