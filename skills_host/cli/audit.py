"""`skills-host audit`: who did what in the registry, and whether the trail is whole."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from skills_host.cli.registry import spelled, with_registry
from skills_host.cli.terminal import ConfigOption, JsonOption, fail, print_json
from skills_host.consumer.registry.registry import Registry
from skills_host.settings import Settings

__all__ = ["audit"]

audit = typer.Typer(help="Who did what in the registry.", no_args_is_help=True)


@audit.command("tail")
def tail(
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many entries.")] = 20,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the last entries of the audit trail, oldest first."""

    async def run(registry: Registry, _: Settings) -> None:
        epoch = (await registry.ledger.head()).epoch
        found = await registry.ledger.entries(after=max(epoch - lines, 0), limit=lines)
        if as_json:
            print_json([asdict(entry) for entry in found])
            return
        for entry in found:
            parts = [entry.skill, entry.revision[:12], entry.reason]
            parts += [f"{name}={value}" for name, value in entry.details.items()]
            said = "  ".join(filter(None, parts))
            typer.echo(f"{entry.n}  {spelled(entry.at)}  {entry.actor}  {entry.verb}  {said}")

    with_registry(config, run)


@audit.command("verify")
def verify(
    head: Annotated[
        str, typer.Option(help="The hash that the trail had at its end when it was noted.")
    ] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Follow the whole trail; status 1 where an entry is not as it was written."""

    async def run(registry: Registry, _: Settings) -> None:
        found = await registry.ledger.verify(noted=head)
        if as_json:
            print_json({"entries": found.epoch, "head": found.digest})
        else:
            typer.echo(f"{found.epoch} entries, whole; the last has the hash {found.digest}")

    if head and len(head) != 64:
        fail("the hash of an entry has 64 characters")
    with_registry(config, run)
