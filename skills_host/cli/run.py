"""`skills-host run FILE`: one bot from a Python file."""

from __future__ import annotations

import importlib.util
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from skills_host.bot.handlers import Bot
from skills_host.cli.serve import served
from skills_host.cli.terminal import (
    ConfigOption,
    Exit,
    WithParentOption,
    fail,
    reread,
    settings_at,
)
from skills_host.cli.workers import (
    ListenerOption,
    ReadyOption,
    WorkersOption,
    inherited,
    supervised,
)
from skills_host.settings import Settings

__all__ = ["run", "with_manifest"]


def run(
    file: Annotated[Path, typer.Argument(help="A Python file with a Bot or a Root in it.")],
    config: ConfigOption = None,
    bot: Annotated[
        str | None,
        typer.Option("--bot", help="Which configured bot it is (default: the default bot)."),
    ] = None,
    workers: WorkersOption = 1,
    with_parent: WithParentOption = False,
    listener_fd: ListenerOption = None,
    ready_fd: ReadyOption = None,
) -> None:
    """Serve the bot in FILE, with the identity that the settings give it."""
    settings = settings_at(config)
    if workers > 1:
        given = {"--config": config, "--bot": bot}
        named = [part for name, value in given.items() if value for part in (name, str(value))]
        arguments = ["run", str(file), *named]
        supervised(settings, arguments, count=workers, with_parent=with_parent)
    code = _bot_in(file)
    name = bot or settings.default_bot
    bots = {name: code}
    settings = with_manifest(settings, name, file)
    served(
        settings,
        bots,
        reload=partial(reread, config),
        with_parent=with_parent,
        given=inherited(listener_fd, ready_fd),
    )


def with_manifest(settings: Settings, name: str, file: Path) -> Settings:
    """The settings with the manifest that stands by a bot's file, unless they name one.

    It is `manifests/STEM.json` beside the file or beside its folder.
    """
    folder = file.resolve().parent
    places = [place / "manifests" / f"{file.stem}.json" for place in (folder, folder.parent)]
    found = next((place for place in places if place.is_file()), None)
    given = settings.bots.get(name)
    if found is None or given is None or given.manifest is not None:
        return settings
    served = given.model_copy(update={"manifest": str(found)})
    return settings.model_copy(update={"bots": {**settings.bots, name: served}})


def _bot_in(file: Path) -> Bot:
    if not file.is_file():
        fail(f"there is no file {file}", status=Exit.USAGE)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        fail(f"{file} is not a Python file", status=Exit.USAGE)
    module = importlib.util.module_from_spec(spec)
    # Found by its name, as imports and pickles of the file's own classes expect.
    sys.modules[file.stem] = module
    sys.path.insert(0, str(file.resolve().parent))
    spec.loader.exec_module(module)
    bots = [value for value in vars(module).values() if isinstance(value, Bot)]
    if len(bots) != 1:
        fail(f"{file} has {len(bots)} bots; it needs exactly one", status=Exit.USAGE)
    return bots[0]
