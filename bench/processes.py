"""Processes under measurement: started, waited for, sampled and ended."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Measured", "Usage", "free_port", "new_loop"]

READY_SECONDS = 20.0
STOP_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used since it started: CPU in seconds, resident memory in bytes."""

    cpu: float
    rss: int


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
        self._command = [sys.executable, *command]
        self._log = folder / f"{name}.log"
        self._environ = dict(os.environ if environ is None else environ)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
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
        """What the process, all its threads included, has used up to now."""
        pid = self._started.pid
        return _usage_from_proc(pid) if Path("/proc/self/stat").exists() else _usage_from_ps(pid)


def _usage_from_proc(pid: int) -> Usage:
    # The name in parentheses may hold spaces; what follows it is counted from there.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))


def _usage_from_ps(pid: int) -> Usage:
    shown = subprocess.run(
        ["ps", "-o", "time=,rss=", "-p", str(pid)], capture_output=True, text=True, check=True
    )
    clock, kilobytes = shown.stdout.split()
    cpu = 0.0
    for part in clock.split(":"):
        cpu = cpu * 60 + float(part)
    return Usage(cpu, int(kilobytes) * 1024)


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
