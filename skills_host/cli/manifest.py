"""`skills-host manifest`: check manifests, and write, mend, upgrade and fill in one."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from skills_host.cli.terminal import Exit, fail, print_json
from skills_host.consumer.manifest.generations import schema_address
from skills_host.consumer.manifest.lint import as_json, as_sarif, as_text
from skills_host.consumer.manifest.mend import fixed, upgraded
from skills_host.consumer.manifest.model import Generation, Profile
from skills_host.consumer.manifest.readers import read, rendered

__all__ = ["manifest"]

manifest = typer.Typer(help="Check and write skill manifests.", no_args_is_help=True)

FileArgument = Annotated[Path, typer.Argument(help="A manifest.")]
FilesArgument = Annotated[list[Path], typer.Argument(help="Manifests.")]
DevOption = Annotated[bool, typer.Option("--dev", help="Let endpoints be on this machine.")]
WriteOption = Annotated[
    bool, typer.Option("--write", "-w", help="Change the file instead of printing it.")
]


class Format(StrEnum):
    """How findings are written."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"


@manifest.command("lint")
def lint(
    files: FilesArgument,
    profile: Annotated[
        Profile, typer.Option(help="Whose rules: the published schema's, this host's, or both.")
    ] = Profile.COMPAT,
    format: Annotated[Format, typer.Option(help="How it is written.")] = Format.TEXT,
    dev: DevOption = False,
) -> None:
    """Say what is wrong with manifests, and where; status 1 if one of them is not valid."""
    readings = {str(file): read(_bytes_of(file), profile=profile, dev=dev) for file in files}
    if format is Format.SARIF:
        print_json(as_sarif(readings))
    elif format is Format.JSON:
        print_json(as_json(readings, profile=profile))
    else:
        for line in as_text(readings):
            typer.echo(line)
    if any(reading.manifest is None for reading in readings.values()):
        raise typer.Exit(Exit.SAID_NO)


@manifest.command("init")
def init(
    name: Annotated[str, typer.Argument(help="The skill's name; its file is NAME.json.")],
    publisher: Annotated[str, typer.Option(help="Who publishes it.")] = "",
    description: Annotated[str, typer.Option(help="What it does, in one sentence.")] = "",
) -> None:
    """Write a manifest to begin with: a template, filled in when it is served."""
    file = Path(f"{name}.json")
    if not name.isidentifier():
        fail("a name has letters, digits and underscores", status=Exit.USAGE)
    text = json.dumps(_beginning(name, publisher, description), indent=2, ensure_ascii=False)
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text + "\n")
    except OSError as exc:
        fail(f"{file}: {exc.strerror}", status=Exit.USAGE)
    typer.echo(f"{file} is written; describe what the skill accepts under activities")


@manifest.command("fix")
def fix(file: FileArgument, write: WriteOption = False) -> None:
    """Mend what can only be meant in one way: marks, comments, commas, misspelt names."""
    data, done = fixed(_bytes_of(file))
    for what in done:
        typer.echo(f"{file}: {what}", err=True)
    _put(file, data, write=write and bool(done))


@manifest.command("upgrade")
def upgrade(file: FileArgument, write: WriteOption = False) -> None:
    """Write a manifest of any generation in the newest."""
    found = upgraded(_bytes_of(file))
    if found is None:
        fail(f"{file} is not JSON: see manifest lint, and manifest fix")
    data, lost = found
    for name in lost:
        typer.echo(f"{file}: {name} has no place in the newest generation", err=True)
    _put(file, data, write=write)


@manifest.command("render")
def render(
    file: FileArgument,
    given: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE for a blank ${NAME} or {NAME}.")
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="Where the skill is served.")] = None,
    app_id: Annotated[str | None, typer.Option(help="Its app id.")] = None,
) -> None:
    """Print a template with its blanks filled in."""
    values = {} if base_url is None else {"baseUrl": base_url.rstrip("/")}
    if base_url is not None:
        values["endpointUrl"] = f"{values['baseUrl']}/api/messages"
    if app_id is not None:
        values |= {"appId": app_id, "clientId": app_id}
    for pair in given or ():
        name, equals, value = pair.partition("=")
        if not equals:
            fail(f"--set takes NAME=VALUE, not {pair}", status=Exit.USAGE)
        values[name] = value
    try:
        template = _bytes_of(file).decode("utf-8-sig")
        typer.echo(rendered(template, values), nl=False)
    except KeyError as exc:
        fail(f"{file}: there is no value for ${{{exc.args[0]}}}", status=Exit.USAGE)
    except UnicodeDecodeError:
        fail(f"{file}: the text is not UTF-8")


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        fail(f"{file}: {exc.strerror}", status=Exit.USAGE)


def _put(file: Path, data: bytes, *, write: bool) -> None:
    if write:
        file.write_bytes(data)
    else:
        sys.stdout.buffer.write(data)


def _beginning(name: str, publisher: str, description: str) -> dict[str, object]:
    return {
        "$schema": schema_address(Generation.V2_2),
        "$id": name,
        "name": name,
        "version": "1.0",
        "publisherName": publisher or name,
        "description": description,
        "endpoints": [
            {
                "name": "default",
                "protocol": "BotFrameworkV3",
                "endpointUrl": "${endpointUrl}",
                "msAppId": "${appId}",
            }
        ],
        "activities": {"message": {"type": "message", "description": description}},
    }
