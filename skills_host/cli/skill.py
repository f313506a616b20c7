"""`skills-host skill`: register skills, approve them, and take them in and out of use."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from skills_host.cli.registry import (
    ActorOption,
    DryRunOption,
    ReasonOption,
    RegistrationOption,
    order_of,
    overlaps_of,
    registration_at,
    revision_members,
    skill_members,
    spelled,
    with_registry,
)
from skills_host.cli.terminal import ConfigOption, Exit, JsonOption, fail, print_json
from skills_host.consumer.registry.changes import gravest
from skills_host.consumer.registry.deeds import Received
from skills_host.consumer.registry.intake import Submission
from skills_host.consumer.registry.lifecycle import standing_of
from skills_host.consumer.registry.records import SkillRecord, Trust, Waiver
from skills_host.consumer.registry.refresh import is_address
from skills_host.consumer.registry.registry import Registry
from skills_host.consumer.routing.overlaps import Overlap
from skills_host.registered import published, submission_at
from skills_host.settings import Settings

__all__ = ["skill"]

skill = typer.Typer(help="The skills of the registry.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="The skill's name.")]
SourceArgument = Annotated[str, typer.Argument(help="The manifest: an address, or a file.")]
EndpointOption = Annotated[str, typer.Option(help="Which of the manifest's endpoints.")]
ExpectOption = Annotated[
    str, typer.Option("--expect-sha256", help="The digest that the manifest must have.")
]
DraftOption = Annotated[bool, typer.Option("--draft", help="Do not put it up for approval yet.")]
RevisionOption = Annotated[
    str, typer.Option("--revision", help="A revision's digest, or its beginning.")
]
WaiveOption = Annotated[
    list[Waiver] | None,
    typer.Option(help="Let pass: a manifest from elsewhere, an app id that is shared."),
]


@skill.command("add")
def add(
    source: SourceArgument,
    name: Annotated[str, typer.Option(help="Its name (default: the manifest's $id).")] = "",
    registration: RegistrationOption = None,
    endpoint: EndpointOption = "",
    expect_sha256: ExpectOption = "",
    draft: DraftOption = False,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a skill by its manifest, and put it up for approval."""
    given, order = registration_at(registration), order_of(actor, reason, dry_run=dry_run)

    async def run(registry: Registry, settings: Settings) -> None:
        sent = await _sent(registry, source, given, endpoint, settings)
        found = await registry.add(
            name or registry.name_of(sent),
            sent,
            order=order,
            submit=not draft,
            sha256=expect_sha256,
        )
        warned = await overlaps_of(registry, settings, found.skill, found.revision)
        _print_received(found, warned, as_json=as_json)

    with_registry(config, run)


@skill.command("revise")
def revise(
    name: NameArgument,
    source: SourceArgument,
    registration: RegistrationOption = None,
    endpoint: EndpointOption = "",
    expect_sha256: ExpectOption = "",
    draft: DraftOption = False,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send in a new revision of a skill; what runs stays until it is approved."""
    given, order = registration_at(registration), order_of(actor, reason, dry_run=dry_run)

    async def run(registry: Registry, settings: Settings) -> None:
        sent = await _sent(registry, source, given, endpoint, settings)
        found = await registry.revise(
            name, sent, order=order, submit=not draft, sha256=expect_sha256
        )
        warned = await overlaps_of(registry, settings, found.skill, found.revision)
        _print_received(found, warned, as_json=as_json)
        if not found.revision.is_valid:
            raise typer.Exit(Exit.SAID_NO)

    with_registry(config, run)


@skill.command("list")
def list_skills(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the skills, and what each amounts to."""

    async def run(registry: Registry, _: Settings) -> None:
        found = [record async for record in registry.ledger.every_skill()]
        if as_json:
            print_json([skill_members(record) for record in found])
            return
        for record in found:
            waits = sum(state.trust == "pending" for state in record.revisions)
            running = record.active[:12] or "-"
            more = f"  {waits} to approve" if waits else ""
            typer.echo(f"{record.name}  {standing_of(record)}  {running}  {record.source}{more}")

    with_registry(config, run)


@skill.command("show")
def show(name: NameArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show a skill, its revisions with their digests and findings, and its health."""

    async def run(registry: Registry, _: Settings) -> None:
        record, revisions = await registry.show(name)
        health = await registry.ledger.health(name)
        if as_json:
            members = skill_members(record)
            listed = [revision_members(revision) for revision in revisions]
            health_members = {"health": health.health, "note": health.note}
            print_json(members | {"content": listed, "health": health_members})
            return
        typer.echo(f"{record.name}: {standing_of(record)} ({record.operating}), {health.health}")
        typer.echo(f"source {record.source}, registered by {record.owner}")
        if record.quarantine:
            typer.echo(f"in quarantine: {record.quarantine}")
        for revision in revisions:
            state = record.state(revision.digest)
            mark = "*" if revision.digest == record.active else " "
            trust = state.trust if state else ""
            typer.echo(f"{mark} {revision.digest[:12]} {trust} {spelled(revision.received)}")
            typer.echo(f"    manifest sha256 {revision.sha256}")
            if revision.binding is not None:
                typer.echo(f"    {revision.binding.url} as {revision.binding.app_id}")
            for note in revision.findings:
                typer.echo(f"    {note.severity} {note.code} {note.pointer}: {note.message}")

    with_registry(config, run)


@skill.command("diff")
def diff(
    name: NameArgument,
    before: Annotated[str, typer.Option("--from", help="A revision (default: what runs).")] = "",
    after: Annotated[str, typer.Option("--to", help="A revision (default: what waits).")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where two revisions differ, and how much it matters."""

    async def run(registry: Registry, _: Settings) -> None:
        found = await registry.diff(name, before, after)
        if as_json:
            listed = [
                {"pointer": one.pointer, "class": one.kind, "from": one.before, "to": one.after}
                for one in found
            ]
            print_json({"class": gravest(found), "differences": listed})
            return
        for one in found:
            change = f"{one.before or '-'} -> {one.after or '-'}"
            typer.echo(f"{one.kind}  {one.pointer or '/'}: {change}")
        typer.echo(f"as a whole: {gravest(found) or 'the same'}")

    with_registry(config, run)


@skill.command("approve")
def approve(
    name: NameArgument,
    revision: RevisionOption = "",
    waive: WaiveOption = None,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve the revision that waits: exactly that runs from now on."""
    order = order_of(actor, reason, dry_run=dry_run)

    async def run(registry: Registry, settings: Settings) -> None:
        found = await registry.approve(name, revision, order=order, waivers=waive or ())
        running = await registry.ledger.revision(name, found.active)
        warned = await overlaps_of(registry, settings, found, running)
        _print_skill(found, warned, as_json=as_json)

    with_registry(config, run)


@skill.command("refresh")
def refresh(
    name: NameArgument,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look whether a skill's manifest has changed where it came from; status 3 if it is gone."""
    order = order_of(actor, reason)

    async def run(registry: Registry, settings: Settings) -> None:
        async with published(registry, settings, now=time.time) as source_of:
            found = await source_of.refresh(name, order=order)
        if as_json:
            members = {"skill": skill_members(found.skill), "change": found.change}
            print_json(members | {"note": found.note})
        else:
            changed = f"changed: {found.change}" if found.change else "unchanged"
            typer.echo(f"{name}: {found.note or changed}")
        if found.note:
            raise typer.Exit(Exit.UNREACHABLE)

    with_registry(config, run)


@skill.command("remove")
def remove(
    name: NameArgument,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
) -> None:
    """Forget a skill that is not in use; the audit trail remembers it."""
    order = order_of(actor, reason, dry_run=dry_run)

    async def run(registry: Registry, _: Settings) -> None:
        await registry.remove(name, order=order)
        typer.echo(f"{name} removed")

    with_registry(config, run)


@skill.command("submit")
def submit(
    name: NameArgument,
    revision: RevisionOption = "",
    actor: ActorOption = None,
    reason: ReasonOption = "",
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a revision up for approval."""
    order = order_of(actor, reason, dry_run=dry_run)

    async def run(registry: Registry, settings: Settings) -> None:
        found = await registry.submit(name, revision, order=order)
        waits = [one.digest for one in found.revisions if one.trust is Trust.PENDING]
        sent = await registry.ledger.revision(name, waits[-1])
        warned = await overlaps_of(registry, settings, found, sent)
        _print_skill(found, warned, as_json=as_json)

    with_registry(config, run)


def _on_revision(verb: str, text: str) -> None:
    """Add the command of a verb that concerns one revision."""

    def command(
        name: NameArgument,
        revision: RevisionOption = "",
        actor: ActorOption = None,
        reason: ReasonOption = "",
        dry_run: DryRunOption = False,
        config: ConfigOption = None,
        as_json: JsonOption = False,
    ) -> None:
        order = order_of(actor, reason, dry_run=dry_run)

        async def run(registry: Registry, _: Settings) -> None:
            done: Callable[..., Awaitable[SkillRecord]] = getattr(registry, verb)
            _print_skill(await done(name, revision, order=order), as_json=as_json)

        with_registry(config, run)

    skill.command(verb, help=text)(command)


def _on_skill(verb: str, text: str) -> None:
    """Add the command of a verb that concerns a skill as a whole."""

    def command(
        name: NameArgument,
        actor: ActorOption = None,
        reason: ReasonOption = "",
        dry_run: DryRunOption = False,
        config: ConfigOption = None,
        as_json: JsonOption = False,
    ) -> None:
        order = order_of(actor, reason, dry_run=dry_run)

        async def run(registry: Registry, _: Settings) -> None:
            done: Callable[..., Awaitable[SkillRecord]] = getattr(registry, verb)
            _print_skill(await done(name, order=order), as_json=as_json)

        with_registry(config, run)

    skill.command(verb, help=text)(command)


_on_revision("reject", "Turn down the revision that waits.")
_on_revision("revoke", "Never trust a revision again (default: what runs): its sessions end.")
_on_revision("rollback", "Let an earlier approved revision run again.")
_on_skill("enable", "Let a skill be used.")
_on_skill("disable", "Let a skill not be used for now: its sessions end.")
_on_skill("drain", "Begin nothing new with a skill, and go on with what it has.")
_on_skill("retire", "Take a skill out of use for good: its sessions end.")
_on_skill("quarantine", "Keep a skill from users until it is released: its sessions end.")
_on_skill("release", "Take a skill out of quarantine.")


async def _sent(
    registry: Registry,
    source: str,
    registration: dict[str, Any],
    endpoint: str,
    settings: Settings,
) -> Submission:
    """What is sent in from an address, or from a file of this machine."""
    if is_address(source):
        async with published(registry, settings, now=time.time) as source_of:
            return await source_of.submission(source, registration=registration, endpoint=endpoint)
    try:
        return submission_at(Path(source), settings, registration=registration, endpoint=endpoint)
    except OSError as exc:
        fail(f"{exc.filename}: {exc.strerror}", status=Exit.USAGE)


def _print_received(found: Received, warned: Sequence[Overlap], *, as_json: bool) -> None:
    if as_json:
        members = {"skill": skill_members(found.skill), "change": found.change}
        members |= {"revision": revision_members(found.revision)}
        print_json(members | {"overlaps": [one.as_dict() for one in warned]})
        return
    _warn(warned)
    revision = found.revision
    for note in revision.findings:
        typer.echo(f"{note.severity} {note.code} {note.pointer or '/'}: {note.message}")
    typer.echo(f"manifest sha256 {revision.sha256}")
    if revision.binding is not None:
        typer.echo(f"{revision.binding.url} as {revision.binding.app_id}")
    if found.change is not None:
        typer.echo(f"differs from what runs: {found.change}")
    state = found.skill.state(revision.digest)
    trust = state.trust if state else "as before"
    typer.echo(f"{found.skill.name}: revision {revision.digest[:12]} is {trust}")


def _warn(warned: Sequence[Overlap]) -> None:
    for one in warned:
        typer.echo(f"warning: {one}", err=True)


def _print_skill(
    record: SkillRecord, warned: Sequence[Overlap] | None = None, *, as_json: bool
) -> None:
    if as_json:
        members = skill_members(record)
        if warned is not None:
            members["overlaps"] = [one.as_dict() for one in warned]
        print_json(members)
        return
    _warn(warned or ())
    running = record.active[:12] or "nothing"
    typer.echo(f"{record.name}: {standing_of(record)}, runs {running}")
