"""Several processes that serve one address: started, started again when they die, and stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated, NoReturn

import typer

from skills_host.cli.terminal import Exit, fail, log_to_stderr, run_async, stopped
from skills_host.settings import Settings
from skills_host.store.address import MEMORY
from skills_host.web.server import listening

__all__ = [
    "Inherited",
    "ListenerOption",
    "ReadyOption",
    "Workers",
    "WorkersOption",
    "inherited",
    "pause_before",
    "supervised",
]

log = logging.getLogger(__name__)

GRACE = 5.0  # seconds for what a worker does after its turns have been given their time
LONGEST_PAUSE = 30.0
SOUND = 60.0  # seconds after which a worker that dies has been sound

WorkersOption = Annotated[
    int, typer.Option("--workers", min=1, max=64, help="How many processes share the address.")
]
ListenerOption = Annotated[int | None, typer.Option("--listener-fd", hidden=True)]
ReadyOption = Annotated[int | None, typer.Option("--ready-fd", hidden=True)]


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a worker has from its supervisor: where it listens, and where it says that it does."""

    listener_fd: int
    ready_fd: int

    def listener(self) -> socket.socket:
        """The socket that all workers share."""
        return socket.socket(fileno=self.listener_fd)

    def say_ready(self) -> None:
        """Tell the supervisor that the application has started."""
        with suppress(OSError):
            os.write(self.ready_fd, b"+")
            os.close(self.ready_fd)


def inherited(listener_fd: int | None, ready_fd: int | None) -> Inherited | None:
    """What a worker was given on its command line; None for a process of its own."""
    if listener_fd is None or ready_fd is None:
        return None
    return Inherited(listener_fd, ready_fd)


def pause_before(trial: int) -> float:
    """Seconds before a worker is started again that has died so many times in a row. Pure."""
    return float(min(LONGEST_PAUSE, 0.1 * 2 ** min(trial, 10))) if trial else 0.0


def supervised(
    settings: Settings, arguments: Sequence[str], *, count: int, with_parent: bool
) -> NoReturn:
    """Serve with so many processes of the command with these arguments; then end the command.

    What keeps the first from starting is told by it, and its exit status is the command's.
    """
    if os.name != "posix":
        fail("--workers needs a POSIX system", status=Exit.USAGE)
    if settings.store.url == MEMORY:
        fail("--workers: processes share no store in memory", status=Exit.USAGE)
    log_to_stderr()
    command = [sys.executable, "-m", "skills_host.cli", *arguments, "--with-parent"]
    try:
        listener = listening(settings.host.bind)
    except OSError as exc:
        fail(f"cannot listen on {settings.host.bind}: {exc.strerror}", status=Exit.UNREACHABLE)
    names = ", ".join(settings.bots)
    typer.echo(f"serving {names} at {settings.host.public_url} with {count} processes", err=True)
    with listener:
        seconds = settings.host.limits.stop_seconds + GRACE
        workers = Workers(command, listener, count=count, stop_seconds=seconds)
        status = run_async(workers.run(partial(stopped, with_parent=with_parent)))
    raise typer.Exit(status)


class Workers:
    """The processes of one address; a worker that has not ended after `stop_seconds` is killed."""

    def __init__(
        self, command: Sequence[str], listener: socket.socket, *, count: int, stop_seconds: float
    ) -> None:
        self._command = command
        self._listener = listener
        self._count = count
        self._stop_seconds = stop_seconds
        self._running: set[asyncio.subprocess.Process] = set()

    async def run(self, stopped: Callable[[], Awaitable[None]]) -> int:
        """Serve until `stopped` returns; the exit status of it all."""
        stop = asyncio.ensure_future(stopped())
        serving = asyncio.create_task(self._serve())
        try:
            await asyncio.wait({stop, serving}, return_when=asyncio.FIRST_COMPLETED)
            return serving.result() if serving.done() else Exit.DONE
        finally:
            # Nothing is started any more when those that run are stopped.
            stop.cancel()
            serving.cancel()
            await asyncio.gather(stop, serving, return_exceptions=True)
            await self._stop()

    async def _serve(self) -> int:
        """Keep all workers running; the status of the first one if that does not even start."""
        first = await self._start()
        if not await self._is_ready(first):
            status = await first.process.wait()
            return status if status > 0 else Exit.SAID_NO
        # What is made or migrated in the store is there now; the others only open it.
        await asyncio.gather(self._keep(first), *(self._keep(None) for _ in range(self._count - 1)))
        return Exit.DONE

    async def _keep(self, worker: _Worker | None) -> None:
        """Start a worker again whenever it dies, the later the more often it does."""
        trial = 0
        while True:
            begun = time.monotonic()
            worker = worker or await self._start()
            status = await worker.process.wait()
            self._running.discard(worker.process)
            os.close(worker.ready_fd)
            trial = 0 if time.monotonic() - begun > SOUND else trial + 1
            log.error("a worker has ended with %d; another is started", status)
            worker = None
            await asyncio.sleep(pause_before(trial))

    async def _start(self) -> _Worker:
        ready, to_say = os.pipe()
        try:
            given = ("--listener-fd", str(self._listener.fileno()), "--ready-fd", str(to_say))
            process = await asyncio.create_subprocess_exec(
                *self._command,
                *given,
                # While we live, it is open: a worker does not outlive us.
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(self._listener.fileno(), to_say),
            )
        except BaseException:
            os.close(ready)
            raise
        finally:
            os.close(to_say)
        self._running.add(process)
        return _Worker(process, ready)

    async def _is_ready(self, worker: _Worker) -> bool:
        """Wait until it has started; False if it has ended without."""
        return await asyncio.to_thread(os.read, worker.ready_fd, 1) == b"+"

    async def _stop(self) -> None:
        """Let all workers end, as gracefully as they do in time."""
        running = tuple(self._running)
        for process in running:
            with suppress(ProcessLookupError):
                process.terminate()
        waits = [asyncio.create_task(process.wait()) for process in running]
        if waits:
            await asyncio.wait(waits, timeout=self._stop_seconds)
        for process, wait in zip(running, waits, strict=True):
            if not wait.done():
                log.error("a worker did not stop in time and is killed")
                process.kill()
        await asyncio.gather(*waits)


@dataclass(frozen=True, slots=True)
class _Worker:
    process: asyncio.subprocess.Process
    ready_fd: int
