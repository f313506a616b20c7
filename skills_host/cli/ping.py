"""`skills-host skill ping`: whether a skill can be reached, and lets our root in."""

from __future__ import annotations

import time
import uuid
from dataclasses import asdict
from typing import Annotated

import typer

from skills_host.cli.registry import with_registry
from skills_host.cli.terminal import ConfigOption, Exit, JsonOption, fail, print_json
from skills_host.configured import (
    World,
    configured_credentials,
    configured_skills,
    trusts_lab,
)
from skills_host.consumer.registry.records import Binding, Health, HealthReport
from skills_host.consumer.registry.registry import Registry
from skills_host.doctor.examine import network
from skills_host.doctor.ping import binding_of, noted, pinged
from skills_host.settings import Settings

__all__ = ["ping"]


def ping(
    name: Annotated[str, typer.Argument(help="The skill's name.")],
    root: Annotated[str, typer.Option(help="Which root asks (default: the host's first).")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a skill whether it lets our root in; status 1 if not, 3 if it cannot be reached."""

    async def run(registry: Registry, settings: Settings) -> None:
        binding = await binding_of(registry.ledger, name)
        seen = await _pinged(settings, root or _first_root(settings), binding)
        kept = await noted(registry.ledger, name, seen)
        if as_json:
            print_json(asdict(kept))
        else:
            typer.echo(f"{name}: {seen.health}" + (f", {seen.note}" if seen.note else ""))
        if seen.health is not Health.HEALTHY:
            is_away = seen.health in (Health.DOWN, Health.UNKNOWN)
            raise typer.Exit(Exit.UNREACHABLE if is_away else Exit.SAID_NO)

    with_registry(config, run)


async def _pinged(settings: Settings, root: str, binding: Binding) -> HealthReport:
    lab = trusts_lab(settings, configured_skills(settings))
    world = World()
    credentials = {root: configured_credentials(settings, world)[root]}
    async with network(settings, world, credentials, lab=lab) as (send, _, sources):
        return await pinged(
            binding.url,
            app_id=binding.app_id,
            root_app_id=settings.bots[root].app_id,
            host_url=settings.host.public_url,
            source=sources[root],
            send=send,
            new_id=uuid.uuid4().hex,
            now=time.time(),
        )


def _first_root(settings: Settings) -> str:
    for name, bot in settings.bots.items():
        if bot.kind == "root":
            return name
    fail("no bot of these settings is a root", status=Exit.USAGE)
