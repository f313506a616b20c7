"""`skills-host serve`: a host from configuration and manifests, without code."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from functools import partial

import typer

from skills_host.app import create_app
from skills_host.app import serve as serve_app
from skills_host.bot.handlers import Bot
from skills_host.cli.terminal import (
    ConfigOption,
    Exit,
    WithParentOption,
    fail,
    log_to_stderr,
    reread,
    run_async,
    settings_at,
    stopped,
)
from skills_host.cli.workers import (
    Inherited,
    ListenerOption,
    ReadyOption,
    WorkersOption,
    inherited,
    supervised,
)
from skills_host.errors import SettingsError, SkillsHostError
from skills_host.settings import Settings

__all__ = ["serve", "served"]

YOUNG = 10_000  # so many new objects before garbage among them is looked for


def serve(
    config: ConfigOption = None,
    workers: WorkersOption = 1,
    with_parent: WithParentOption = False,
    listener_fd: ListenerOption = None,
    ready_fd: ReadyOption = None,
) -> None:
    """Serve the configured bots until SIGTERM or Ctrl-C."""
    settings = settings_at(config)
    if workers > 1:
        arguments = ["serve", *(("--config", str(config)) if config else ())]
        supervised(settings, arguments, count=workers, with_parent=with_parent)
    served(
        settings,
        reload=partial(reread, config),
        with_parent=with_parent,
        given=inherited(listener_fd, ready_fd),
    )


def served(
    settings: Settings,
    bots: Mapping[str, Bot] | None = None,
    *,
    reload: Callable[[], Settings],
    with_parent: bool = False,
    given: Inherited | None = None,
) -> None:
    """Serve these bots; the end of the command, if that is not possible."""
    log_to_stderr()
    shutdown, listener = partial(stopped, with_parent=with_parent), None
    try:
        app = create_app(settings, bots=bots, reload=reload)
        app.before_serving(_settle)
        if given is None:
            names = ", ".join(settings.bots)
            typer.echo(f"serving {names} at {settings.host.public_url}", err=True)
        else:
            app.before_serving(given.say_ready)
            listener = given.listener()
        run_async(serve_app(app, settings, shutdown=shutdown, listener=listener))
    except SettingsError as exc:
        fail(exc)
    except SkillsHostError as exc:
        fail(exc, status=Exit.UNREACHABLE)
    except OSError as exc:
        fail(f"cannot listen on {settings.host.bind}: {exc.strerror}", status=Exit.UNREACHABLE)


async def _settle() -> None:
    """Have the collector of garbage leave alone what a started host keeps for good.

    Each full collection would look through all of it, and hold the event loop up for 40 to 70 ms.
    What a turn leaves behind is hardly ever garbage that only the collector finds.
    """
    gc.collect()
    gc.freeze()
    young, *older = gc.get_threshold()
    if young:
        gc.set_threshold(max(young, YOUNG), *older)
