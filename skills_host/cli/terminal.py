"""What all commands share: exit codes, how errors are shown, and how they run."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from skills_host.configuration import load_settings
from skills_host.errors import SettingsError, SkillsHostError
from skills_host.settings import Settings
from skills_host.store.records import Store

__all__ = [
    "ConfigOption",
    "Exit",
    "JsonOption",
    "WithParentOption",
    "fail",
    "log_to_stderr",
    "print_json",
    "reread",
    "run_async",
    "settings_at",
    "stopped",
    "with_hosts",
    "with_store",
]

DEFAULT_CONFIG = Path("skills-host.toml")

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings file (default: skills-host.toml, if there)."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
WithParentOption = Annotated[
    bool,
    typer.Option("--with-parent", hidden=True, help="Stop when standard input is closed."),
]


class Exit(IntEnum):
    """What a command's exit status means."""

    DONE = 0
    SAID_NO = 1
    USAGE = 2
    UNREACHABLE = 3


def fail(error: SkillsHostError | str, *, status: Exit = Exit.SAID_NO) -> NoReturn:
    """Say what is wrong, with its code, and exit."""
    code = f"{error.code}: " if isinstance(error, SkillsHostError) else ""
    typer.echo(f"skills-host: {code}{error}", err=True)
    raise typer.Exit(status)


def settings_at(config: Path | None) -> Settings:
    """The settings of a command, or its end with the setting that is wrong."""
    try:
        return reread(config)
    except SettingsError as exc:
        fail(exc)


def reread(config: Path | None) -> Settings:
    """The settings of a command, read now. Raises `SettingsError`."""
    if config is None and DEFAULT_CONFIG.exists():
        config = DEFAULT_CONFIG
    return load_settings(config)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def run_async(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on the fastest event loop there is."""
    try:
        import uvloop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def log_to_stderr(level: int = logging.WARNING) -> None:
    """Log to standard error; what tokens and activities hold is never logged."""
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )


async def stopped(*, with_parent: bool = False) -> None:
    """Wait for SIGTERM or SIGINT, or for standard input to close if a parent holds it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if with_parent:
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        watch = asyncio.create_task(reader.read())
        watch.add_done_callback(lambda _: stop.set())
    await stop.wait()


def with_store(config: Path | None, work: Callable[[Store], Awaitable[None]]) -> None:
    """Do some work on the store of the settings; exits where it cannot be reached."""
    settings = settings_at(config)

    async def run() -> None:
        async with _opened(settings) as store:
            await work(store)

    _finish(run())


def with_hosts(
    config: Path | None, work: Callable[[Store, Callable[[], None]], Awaitable[None]]
) -> None:
    """Do some work on the store, and have running hosts look at once what is due: the callable."""
    settings = settings_at(config)
    from skills_host.configured import configured_coordination
    from skills_host.store.coordination import DUE

    async def run() -> None:
        coordination = configured_coordination(settings, name="command")
        async with _opened(settings) as store:
            await coordination.open()
            try:
                await work(store, lambda: coordination.wake(DUE))
            finally:
                await coordination.close()

    _finish(run())


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Store]:
    from skills_host.store.address import shared_store

    store = shared_store(settings.store.url)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def _finish(work: Coroutine[Any, Any, None]) -> None:
    try:
        run_async(work)
    except SettingsError as exc:
        fail(exc)
    except SkillsHostError as exc:
        fail(exc, status=Exit.UNREACHABLE)
    except KeyboardInterrupt:
        raise typer.Exit(Exit.DONE) from None
