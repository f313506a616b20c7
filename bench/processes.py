"""Processes under measurement: started, waited for, sampled with all their children, and ended."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

__all__ = ["OURS", "Measured", "Usage", "free_port", "new_loop"]

OURS = (sys.executable, "-m", "skills_host.cli")
READY_SECONDS = 60.0
STOP_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used since it started: CPU in seconds, resident memory in bytes.

    `largest` is the memory of the largest of its processes, `files` what they have open.
    """

    cpu: float
    rss: int
    largest: int
    files: int


class Measured:
    """A server process on a loopback port, with its output in a file; a context manager."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        port: int,
        folder: Path,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / f"{name}.log"
        self._command = list(command)
        self._environ = dict(os.environ if environ is None else environ)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environ,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._started
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "enter the context first"
        return self._process

    async def ready(self) -> None:
        """Wait until the port takes connections; `RuntimeError` if it never does."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not await self._is_listening():
                    if self._started.poll() is not None:
                        raise RuntimeError(f"{self.name} ended at once")
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise RuntimeError(f"{self.name} does not listen") from None

    async def _is_listening(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    def usage(self) -> Usage:
        """What the process and its children, all their threads included, have used up to now."""
        first = psutil.Process(self._started.pid)
        cpu, sizes, files = 0.0, [0], 0
        for process in (first, *first.children(recursive=True)):
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                times = process.cpu_times()
                cpu += times.user + times.system
                sizes.append(process.memory_info().rss)
                files += process.num_fds()
        return Usage(cpu, sum(sizes), max(sizes), files)


def free_port() -> int:
    """A loopback port that nothing listens on just now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def new_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's event loop where it is installed, otherwise the usual one (None)."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
