"""`skills-host grant`: who may be routed to a skill."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from skills_host.cli.registry import (
    ActorOption,
    DryRunOption,
    ReasonOption,
    order_of,
    with_registry,
)
from skills_host.cli.terminal import ConfigOption, Exit, JsonOption, fail, print_json
from skills_host.consumer.registry.deeds import said
from skills_host.consumer.registry.records import Grant, SkillRecord
from skills_host.consumer.registry.registry import Registry
from skills_host.settings import Settings

__all__ = ["grant"]

grant = typer.Typer(help="Who may be routed to a skill.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="The skill's name.")]
RootOption = Annotated[list[str] | None, typer.Option("--root", help="A bot of this host.")]
TenantOption = Annotated[list[str] | None, typer.Option("--tenant", help="A tenant's id.")]
ChannelOption = Annotated[list[str] | None, typer.Option("--channel", help="A channel's id.")]
UserOption = Annotated[list[str] | None, typer.Option("--user", help="A user's id.")]
EveryoneOption = Annotated[bool, typer.Option("--everyone", help="Everyone.")]


@grant.command("add")
def add(
    name: NameArgument,
    root: RootOption = None,
    tenant: TenantOption = None,
    channel: ChannelOption = None,
    user: UserOption = None,
    everyone: EveryoneOption = False,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
) -> None:
    """Grant a skill to those whom all of the given lists name."""
    given = _grant(root, tenant, channel, user, everyone=everyone)
    order = order_of(actor, reason, dry_run=dry_run)

    async def run(registry: Registry, _: Settings) -> None:
        _print(await registry.grant(name, given, order=order))

    with_registry(config, run)


@grant.command("rm")
def remove(
    name: NameArgument,
    root: RootOption = None,
    tenant: TenantOption = None,
    channel: ChannelOption = None,
    user: UserOption = None,
    everyone: EveryoneOption = False,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
) -> None:
    """Take a grant back; the last one stays, for without any a skill is everyone's."""
    given = _grant(root, tenant, channel, user, everyone=everyone)
    order = order_of(actor, reason, dry_run=dry_run)

    async def run(registry: Registry, _: Settings) -> None:
        _print(await registry.ungrant(name, given, order=order))

    with_registry(config, run)


@grant.command("list")
def list_grants(
    name: NameArgument, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """List who may be routed to a skill."""

    async def run(registry: Registry, _: Settings) -> None:
        record = await registry.ledger.skill(name)
        if as_json:
            print_json([asdict(one) for one in record.grants])
        else:
            _print(record)

    with_registry(config, run)


def _grant(
    root: list[str] | None,
    tenant: list[str] | None,
    channel: list[str] | None,
    user: list[str] | None,
    *,
    everyone: bool,
) -> Grant:
    lists = [tuple(named or ()) for named in (root, tenant, channel, user)]
    if any(lists) == everyone:
        fail("give roots, tenants, channels or users, or --everyone", status=Exit.USAGE)
    return Grant(*lists)


def _print(record: SkillRecord) -> None:
    if not record.grants:
        typer.echo(f"{record.name}: everyone, for nothing is granted in particular")
    for one in record.grants:
        whom = ", ".join(f"{what} {named}" for what, named in said(one).items())
        typer.echo(f"{record.name}: {whom or 'everyone'}")
