"""`skills-host doctor`: what is wrong, before the first message, with one fix for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import typer
from rich.console import Console
from rich.table import Table

from skills_host.cli.terminal import (
    ConfigOption,
    Exit,
    JsonOption,
    print_json,
    reread,
    run_async,
)
from skills_host.configured import World
from skills_host.doctor.examine import examined
from skills_host.doctor.row import Health, Row, worst
from skills_host.errors import SettingsError

__all__ = ["doctor"]

# Without an answer from these nothing is known of the rest.
UNREACHABLE = frozenset({"authority-unreachable", "keys-unavailable"})


def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Look for everything that can be wrong: settings, credentials, peers, addresses, clocks.

    Exit status: 0 nothing failed, 1 something did, 3 it is the authority that cannot be reached.
    """
    try:
        rows = run_async(examined(reread(config), World()))
    except SettingsError as exc:
        fix = "mend the setting that is named"
        rows = [Row("settings", Health.FAILED, exc.code, str(exc), fix)]
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        _print(rows)
    raise typer.Exit(_status(rows))


def _print(rows: Sequence[Row]) -> None:
    table = Table(box=None, pad_edge=False)
    for title, whole in (("check", False), ("", True), ("code", True), ("what", False)):
        table.add_column(title, no_wrap=whole)
    table.add_column("what to do")
    for row in rows:
        table.add_row(row.name, row.health.value, row.code, row.detail, row.fix)
    Console().print(table)


def _status(rows: Sequence[Row]) -> Exit:
    if worst(rows) is not Health.FAILED:
        return Exit.DONE
    failed = {row.code for row in rows if row.health is Health.FAILED}
    return Exit.UNREACHABLE if failed <= UNREACHABLE else Exit.SAID_NO
