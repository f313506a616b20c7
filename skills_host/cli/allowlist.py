"""`skills-host allowlist`: who may call whom, and what a skill's author has to allow."""

from __future__ import annotations

from typing import Annotated

import typer

from skills_host.cli.registry import with_registry
from skills_host.cli.terminal import ConfigOption, JsonOption, print_json
from skills_host.consumer.registry.live import LiveCatalogue
from skills_host.consumer.registry.registry import Registry
from skills_host.settings import Settings

__all__ = ["allowlist"]

allowlist = typer.Typer(help="Who may call whom.", no_args_is_help=True)


@allowlist.command("show")
def show(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the lists of both directions as a host compiles them from the registry."""

    async def run(registry: Registry, settings: Settings) -> None:
        live = LiveCatalogue(registry.ledger, settings)
        await live.load()
        now = live.now
        skills = [
            {
                "skill": one.name,
                "app_id": one.app_id,
                "endpoint": one.endpoint,
                "tenants": sorted(one.tenants),
                "draining": now.skills[name].draining,
            }
            for name, one in now.snapshot.skills.items()
        ]
        callers = {app_id: sorted(peers) for app_id, peers in now.snapshot.callers.items()}
        barred = dict(now.snapshot.barred)
        if as_json:
            members = {"epoch": now.epoch, "skills": skills, "callers": callers}
            print_json(members | {"barred": barred})
            return
        typer.echo(f"epoch {now.epoch}")
        for row in skills:
            end = ", draining" if row["draining"] else ""
            typer.echo(f"may call and be called by {row['skill']} {row['app_id']}{end}")
        for app_id, code in barred.items():
            typer.echo(f"refused {app_id}: {code}")
        for app_id, peers in callers.items():
            typer.echo(f"may call {app_id}: {', '.join(peers) or 'nobody'}")

    with_registry(config, run)


@allowlist.command("export")
def export(
    for_skill: Annotated[str, typer.Option(help="The skill's name.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what the author of a skill puts into its list of callers: the roots' app ids."""

    async def run(registry: Registry, settings: Settings) -> None:
        record = await registry.ledger.skill(for_skill)
        named = {root for grant in record.grants for root in grant.roots}
        everyone = not record.grants or any(not grant.roots for grant in record.grants)
        roots = {
            name: bot.app_id
            for name, bot in settings.bots.items()
            if bot.kind == "root" and (everyone or name in named)
        }
        if as_json:
            print_json({"skill": for_skill, "allowed_callers": sorted(roots.values())})
            return
        listed = ", ".join(f'"{app_id}"' for app_id in sorted(roots.values()))
        typer.echo(f"allowed_callers = [{listed}]")

    with_registry(config, run)
