"""`skills-host skill export` and `import-bundle`: skills from one registry to another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from skills_host.cli.registry import (
    ActorOption,
    DryRunOption,
    ReasonOption,
    order_of,
    with_registry,
)
from skills_host.cli.terminal import ConfigOption, Exit, fail
from skills_host.consumer.registry.bundle import bundle_of, submissions_in
from skills_host.consumer.registry.registry import Registry
from skills_host.errors import RegistryRefused
from skills_host.settings import Settings

__all__ = ["export", "import_bundle"]


def export(
    names: Annotated[list[str] | None, typer.Argument(help="Skills (default: all).")] = None,
    config: ConfigOption = None,
) -> None:
    """Print skills as one bundle: manifests and what stands beside them, but no approval."""

    async def run(registry: Registry, _: Settings) -> None:
        bundle = await bundle_of(registry.ledger, names)
        sys.stdout.write(bundle.decode() + "\n")

    with_registry(config, run)


def import_bundle(
    file: Annotated[Path, typer.Argument(help="A bundle.")],
    actor: ActorOption = None,
    reason: ReasonOption = "",
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
) -> None:
    """Send in what is in a bundle, and put it up for approval here."""
    order = order_of(actor, reason, dry_run=dry_run)
    try:
        bundle = file.read_bytes()
    except OSError as exc:
        fail(f"{file}: {exc.strerror}", status=Exit.USAGE)

    async def run(registry: Registry, _: Settings) -> None:
        for name, sent in submissions_in(bundle).items():
            try:
                found = await registry.add(name, sent, order=order, submit=True)
            except RegistryRefused as exc:
                if exc.code != "already-registered":
                    raise
                found = await registry.revise(name, sent, order=order, submit=True)
            state = found.skill.state(found.revision.digest)
            typer.echo(f"{name}: {found.revision.digest[:12]} is {state.trust if state else ''}")

    with_registry(config, run)
