"""`skills-host import`: the settings of a bot on an SDK as ours, and what is different with us."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skills_host.cli.terminal import Exit, JsonOption, fail, print_json
from skills_host.errors import SkillsHostError

if TYPE_CHECKING:
    from skills_host.imports.written import Written

__all__ = ["import_"]

PRIVATE = 0o600


def import_(
    files: Annotated[
        list[Path],
        typer.Argument(help="appsettings.json, config.py, .env, Composer settings; manifests."),
    ],
    out: Annotated[Path | None, typer.Option(help="File to write; nothing is overwritten.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write our configuration for a bot on botbuilder, Composer or the Agents SDK.

    The configuration goes to --out or standard output, the differences to standard error. Exit
    status 1 if something had to be left out. No code is run, and no secret is written.
    """
    try:
        from skills_host.imports.source import read_source
        from skills_host.imports.written import written
    except ImportError:
        fail('import needs the extra: pip install "skills-host[import]"', status=Exit.USAGE)
    folder = (out or Path("x")).parent
    try:
        found = written(
            [read_source(str(path), _bytes(path)) for path in files], folder=str(folder)
        )
    except SkillsHostError as exc:
        fail(exc)
    if out is not None:
        _write(out, found.toml)
    if as_json:
        differences = [difference.to_json() for difference in found.differences]
        print_json({"toml": found.toml, "variables": found.variables, "differences": differences})
    else:
        _print(found, shown=out is None)
    if not found.is_whole:
        raise typer.Exit(Exit.SAID_NO)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        fail(f"{path}: {exc.strerror}", status=Exit.USAGE)


def _write(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    except FileExistsError:
        fail(f"{path} exists; it is not overwritten")
    except OSError as exc:
        fail(f"{path}: {exc.strerror}")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _print(found: Written, *, shown: bool) -> None:
    if shown:
        typer.echo(found.toml, nl=False)
    for difference in found.differences:
        kind = difference.kind
        seen = f" ({difference.seen})" if difference.seen else ""
        mark = "LEFT OUT " if kind.lost else ""
        where = f"{difference.where}: " if difference.where else ""
        typer.echo(f"{mark}{difference.code}: {where}{kind.meaning}{seen}; {kind.fix}", err=True)
    needed = ", ".join(found.variables) or "nothing"
    typer.echo(f"needed in the environment: {needed}", err=True)
