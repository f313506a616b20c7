"""`skills-host hosts`: which processes use the store at the moment."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import typer

from skills_host.cli.terminal import ConfigOption, JsonOption, print_json, with_store
from skills_host.store.heartbeats import living
from skills_host.store.records import Store

__all__ = ["hosts"]


def hosts(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the processes that use the store, the oldest first."""

    async def run(store: Store) -> None:
        beats = await living(store)
        if as_json:
            print_json([asdict(beat) for beat in beats])
            return
        for beat in beats:
            since = datetime.fromtimestamp(beat.started, UTC).isoformat(timespec="seconds")
            how = "coordinated" if beat.coordinated else "alone"
            typer.echo(f"{beat.machine.id}  {beat.pid}  {since}  {beat.version}  {how}")

    with_store(config, run)
