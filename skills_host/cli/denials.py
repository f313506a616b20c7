"""`skills-host denials`: why callers were refused, from the receipts in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from skills_host.auth.denials import DECIDED_BY, DENIALS
from skills_host.auth.receipts import KINDS, Receipt, is_receipt_id
from skills_host.cli.terminal import (
    ConfigOption,
    JsonOption,
    fail,
    print_json,
    with_store,
)
from skills_host.store.records import Store

__all__ = ["denials", "follow_receipts", "newest"]

LATE = 10.0  # seconds that another process's receipt may come after its id
PAGE = 1000
POLL = 0.5

LimitOption = Annotated[int, typer.Option("--limit", min=1, help="How many, the newest first.")]

denials = typer.Typer(help="Why callers were refused.", no_args_is_help=False)


@denials.callback(invoke_without_command=True)
def _by_default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        context.invoke(list_denials, config=None, limit=20, as_json=False)


@denials.command("list")
def list_denials(
    config: ConfigOption = None, limit: LimitOption = 20, as_json: JsonOption = False
) -> None:
    """List the newest refusals."""

    async def run(store: Store) -> None:
        found = await newest(store, limit)
        if as_json:
            print_json([asdict(receipt) for receipt in found])
            return
        for receipt in found:
            typer.echo(_line(receipt))

    with_store(config, run)


@denials.command("follow")
def follow(config: ConfigOption = None) -> None:
    """Print refusals as they come, those of every process on the store, until interrupted."""

    async def run(store: Store) -> None:
        await follow_receipts(store, lambda receipt: typer.echo(_line(receipt)))

    with_store(config, run)


@denials.command("show")
def show(
    id: Annotated[str, typer.Argument(help="The receipt that the caller was given.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one refusal: what was expected, what was seen, what decides it, what to change."""

    async def run(store: Store) -> None:
        receipt = await _found(store, id)
        if receipt is None:
            fail(f"no receipt {id}" if is_receipt_id(id) else "that is not the id of a receipt")
        rows = _rows(receipt)
        if as_json:
            print_json(asdict(receipt) | rows)
            return
        for name, value in rows.items():
            typer.echo(f"{name:>9}  {value}")

    with_store(config, run)


@denials.command("codes")
def codes(as_json: JsonOption = False) -> None:
    """Print the table of codes with which callers are refused."""
    if as_json:
        print_json(
            {
                name: {
                    "status": code.status,
                    "meaning": code.meaning,
                    "setting": DECIDED_BY.get(name),
                    "fix": code.fix,
                }
                for name, code in DENIALS.items()
            }
        )
        return
    table = Table("code", "status", "meaning", "setting", "what to do", box=None)
    for name, code in DENIALS.items():
        setting = DECIDED_BY.get(name, "-")
        table.add_row(name, str(code.status), code.meaning, setting, code.fix)
    Console().print(table)


async def newest(store: Store, limit: int) -> list[Receipt]:
    """The newest receipts of both kinds, at most `limit`, the newest first."""
    found = [receipt for kind in KINDS for receipt in await _all(store, kind)]
    return sorted(found, key=lambda receipt: receipt.id, reverse=True)[:limit]


async def follow_receipts(store: Store, say: Callable[[Receipt], None]) -> None:
    """Call `say` with each receipt that comes from now on, of whichever process; never returns."""
    known = {receipt.id for receipt in await newest(store, PAGE)}
    while True:
        await asyncio.sleep(POLL)
        last = max(known, default="")
        # Processes write behind their answers, so that a smaller id may come after a larger one.
        after = f"{max(0, int(last[:13]) - int(LATE * 1000)):013d}" if last else ""
        coming = [receipt for kind in KINDS for receipt in await _all(store, kind, after=after)]
        for receipt in sorted(coming, key=lambda receipt: receipt.id):
            if receipt.id not in known:
                known.add(receipt.id)
                say(receipt)
        known = {id for id in known if id >= after}


async def _all(store: Store, kind: str, *, after: str = "") -> list[Receipt]:
    found: list[Receipt] = []
    while page := await store.scan(kind, after=after, limit=PAGE):
        found += [Receipt.parse(record.body) for record in page]
        after = page[-1].key
    return found


async def _found(store: Store, id: str) -> Receipt | None:
    if not is_receipt_id(id):
        return None
    records = await store.read([(kind, id) for kind in KINDS])
    return next((Receipt.parse(record.body) for record in records.values()), None)


def _line(receipt: Receipt) -> str:
    again = f" and {receipt.repeated} more" if receipt.repeated else ""
    at = _time(receipt.at)
    return f"{receipt.id}  {at}  {receipt.status} {receipt.code}  {receipt.caller}{again}"


def _rows(receipt: Receipt) -> dict[str, Any]:
    code = DENIALS[receipt.code]
    rows: dict[str, Any] = {
        "refused": f"{receipt.status} {receipt.code}: {code.meaning}",
        "at": _time(receipt.at),
        "door": receipt.door,
        "caller": receipt.caller or "unknown",
        "expected": receipt.expected or "-",
        "seen": receipt.seen or "-",
        "setting": receipt.setting,
        "fix": code.fix,
    }
    if receipt.beyond is not None:
        rows["clock"] = f"{receipt.beyond} s beyond the difference of clocks that is allowed"
    if receipt.repeated:
        rows["repeated"] = f"{receipt.repeated} more of this caller, counted only"
    return rows


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
