"""`skills-host lock`: write down which revisions run, and see whether they still do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skills_host.cli.registry import with_registry
from skills_host.cli.terminal import ConfigOption, Exit, JsonOption, fail, print_json
from skills_host.consumer.registry.lock import drift, lock_text, locked_in, locked_of
from skills_host.consumer.registry.registry import Registry
from skills_host.settings import Settings

__all__ = ["lock"]

lock = typer.Typer(help="The lock file of skills.", no_args_is_help=True)

FileOption = Annotated[
    Path | None, typer.Option("--file", help="The lock file (default: host.skills_lock).")
]


@lock.command("write")
def write(file: FileOption = None, config: ConfigOption = None) -> None:
    """Write the revisions that run into the lock file."""

    async def run(registry: Registry, settings: Settings) -> None:
        target = _file(file, settings)
        named = (await registry.running()).items()
        running = {
            name: locked_of(await registry.ledger.revision(name, digest)) for name, digest in named
        }
        _write(target, lock_text(running))
        typer.echo(f"{target}: {len(running)} skills")

    with_registry(config, run)


@lock.command("check")
def check(
    file: FileOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Compare what runs with the lock file; status 1 if anything differs or is missing."""

    async def run(registry: Registry, settings: Settings) -> None:
        target = _file(file, settings)
        lines = drift(locked_in(_read(target), source=str(target)), await registry.running())
        if as_json:
            print_json({"drift": lines})
        else:
            for line in lines:
                typer.echo(line)
        if lines:
            raise typer.Exit(Exit.SAID_NO)

    with_registry(config, run)


def _file(file: Path | None, settings: Settings) -> Path:
    return file or Path(settings.host.skills_lock or "skills.lock")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        fail(f"{path}: {exc.strerror}", status=Exit.USAGE)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        fail(f"{path}: {exc.strerror}")
