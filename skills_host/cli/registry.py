"""What the commands on the registry share: who acts, in which store, and how skills are shown."""

from __future__ import annotations

import asyncio
import getpass
import json
import time
import tomllib
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from skills_host.cli.terminal import Exit, fail, run_async, settings_at
from skills_host.configured import configured_coordination, configured_skills, trusts_lab
from skills_host.consumer.registry.intake import InvalidManifest
from skills_host.consumer.registry.lifecycle import standing_of
from skills_host.consumer.registry.records import Actor, Order, Revision, SkillRecord
from skills_host.consumer.registry.registry import Registry
from skills_host.consumer.routing.overlaps import Overlap
from skills_host.errors import SkillsHostError, StoreFailed, TransportFailed
from skills_host.registered import TOPIC, overlapping, registry_of
from skills_host.settings import Settings
from skills_host.store.address import shared_store

__all__ = [
    "ActorOption",
    "DryRunOption",
    "ReasonOption",
    "RegistrationOption",
    "order_of",
    "overlaps_of",
    "registration_at",
    "revision_members",
    "skill_members",
    "spelled",
    "with_registry",
]

ActorOption = Annotated[
    str | None, typer.Option("--as", help="Who does it (default: you, as this machine knows you).")
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the audit trail.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Check it, and change nothing.")]
RegistrationOption = Annotated[
    Path | None,
    typer.Option("--registration", help="What stands beside the manifest (TOML or JSON)."),
]


def with_registry(
    config: Path | None, work: Callable[[Registry, Settings], Awaitable[None]]
) -> None:
    """Do some work on the registry of the settings' store; hosts that run take it up at once.

    Exits with 1 where the registry says no, and with 3 where something cannot be reached.
    """
    settings = settings_at(config)

    async def run() -> None:
        lab = trusts_lab(settings, configured_skills(settings))
        store = shared_store(settings.store.url)
        coordination = configured_coordination(settings, name="command")
        await store.open()
        try:
            await coordination.open()
            try:
                changed = lambda: coordination.wake(TOPIC)  # noqa: E731
                registry = registry_of(settings, store, now=time.time, lab=lab, changed=changed)
                await work(registry, settings)
            finally:
                await coordination.close()
        finally:
            await store.close()

    try:
        run_async(run())
    except InvalidManifest as exc:
        for note in exc.findings:
            where = f"{note.pointer or '/'} (line {note.line}, column {note.column})"
            typer.echo(f"{note.severity} {note.code} {where}: {note.message}", err=True)
        fail(exc)
    except (StoreFailed, TransportFailed) as exc:
        fail(exc, status=Exit.UNREACHABLE)
    except SkillsHostError as exc:
        fail(exc)
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(Exit.DONE) from None


def order_of(actor: str | None, reason: str = "", *, dry_run: bool = False) -> Order:
    """An order by whoever runs the command."""
    return Order(Actor(actor or _user()), reason, dry_run=dry_run)


async def overlaps_of(
    registry: Registry, settings: Settings, record: SkillRecord, revision: Revision
) -> tuple[Overlap, ...]:
    """What of a skill's phrases and examples would go to others with this revision.

    Where that cannot be told, it is only said so: what was done to the skill is done.
    """
    try:
        return await overlapping(settings, registry, record, revision)
    except SkillsHostError as exc:
        typer.echo(f"warning: overlaps are not known: {exc.code}: {exc}", err=True)
        return ()


def registration_at(path: Path | None) -> dict[str, Any]:
    """A registration document: the members of `[skills.NAME]`, without where the skill is."""
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as exc:
        fail(f"{path}: {exc}", status=Exit.USAGE)
    if not isinstance(found, dict):
        fail(f"{path}: expected an object", status=Exit.USAGE)
    return found


def skill_members(record: SkillRecord) -> dict[str, Any]:
    """A skill as programs get it; `standing` is what it amounts to."""
    members = asdict(record)
    return members | {"standing": standing_of(record), "created": spelled(record.created)}


def revision_members(revision: Revision) -> dict[str, Any]:
    """A revision as programs get it, without the manifest's own content."""
    members = asdict(replace(revision, manifest=None))
    del members["manifest"]
    return members | {"received": spelled(revision.received)}


def spelled(at: float) -> str:
    """A time as people read it; empty for never."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds") if at else ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
