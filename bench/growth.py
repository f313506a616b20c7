"""What a turn costs when the store is full, beside a turn over an empty one, in the same run.

`scripts/bench growth` fills stores with a million handles, ten thousand of them open conversations.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.channel import Channel
from bench.driver import measured_round
from bench.filled import HANDLES, OPEN, fill
from bench.lab import Lab, started_lab
from bench.processes import free_port, new_loop
from bench.report import Figures, Measured, as_table, measured_of
from bench.systems import HOSTS, NORMAL, Host, System, host

__all__ = ["main"]

MOST = 1.3
STORES = {"sqlite": HOSTS["ours"], "postgres": HOSTS["ours-pg"]}


def filled_host(kind: Host, *, lab: Lab) -> Host:
    """The same host over a store that is full."""
    root, skill = (lab.apps[name].app_id for name in kind.apps)

    def prepare(url: str) -> None:
        began = time.monotonic()
        fill(url, host_app_id=root, skill_app_id=skill)
        print(f"growth: filled in {time.monotonic() - began:.0f} s", file=sys.stderr)

    return replace(kind, prepare=prepare)


async def measured(arguments: argparse.Namespace, folder: Path) -> Measured:
    """All rounds: empty and full by turns, each first in every other round."""
    kinds = [
        replace(STORES[store], name=f"{state}-{store}")
        for store in arguments.stores
        for state in ("empty", "full")
    ]
    rounds = []
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(Channel(port=free_port()))
        apps = [app for kind in kinds for app in kind.apps]
        lab = await stack.enter_async_context(started_lab(apps, folder=folder))
        run = partial(host, lab=lab, folder=folder, service_url=channel.service_url)
        systems: list[System] = []
        for kind in kinds:
            kind = filled_host(kind, lab=lab) if kind.name.startswith("full") else kind
            systems.append(await stack.enter_async_context(run(kind)))
        for number in range(arguments.rounds):
            for system in systems if number % 2 == 0 else reversed(systems):
                print(f"round {number + 1}: {system.name}", file=sys.stderr)
                rounds.append(
                    await measured_round(
                        channel,
                        system,
                        way=NORMAL,
                        users=arguments.users,
                        seconds=arguments.seconds,
                        warm_up=arguments.warm_up,
                    )
                )
    return measured_of(rounds)


def ratios(figures: Measured, *, stores: list[str], users: int) -> dict[str, dict[str, float]]:
    """What a full store costs to an empty one, by store: root's CPU, median latency. Pure."""

    def of(state: str, store: str) -> Figures:
        return figures[NORMAL, users, f"{state}-{store}"]

    return {
        store: {
            "root CPU": of("full", store).root_cpu / of("empty", store).root_cpu,
            "p50": of("full", store).p50 / of("empty", store).p50,
        }
        for store in stores
    }


def parsed(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line's arguments."""
    parser = argparse.ArgumentParser(prog="scripts/bench growth", description=__doc__)
    parser.add_argument("--stores", nargs="+", choices=STORES, default=list(STORES))
    parser.add_argument("--users", type=int, default=8, help="users at once")
    parser.add_argument("--rounds", type=int, default=4, help="rounds of each")
    parser.add_argument("--seconds", type=float, default=5.0, help="measured time of a round")
    parser.add_argument("--warm-up", type=float, default=2.0, help="load before it, not measured")
    parser.add_argument("--json", action="store_true", help="JSON instead of tables")
    return parser.parse_args(argv)


def main() -> None:
    """Measure, print, and say no where a full store costs too much."""
    arguments = parsed()
    with tempfile.TemporaryDirectory(prefix="skills-host-bench-") as folder:
        try:
            with asyncio.Runner(loop_factory=new_loop()) as runner:
                figures = runner.run(measured(arguments, Path(folder)))
        except RuntimeError as exc:
            logs = [f"{log.name}:\n{log.read_text()[-2000:]}" for log in Path(folder).glob("*.log")]
            sys.exit("\n".join([f"growth: {exc}", *logs]))
    found = ratios(figures, stores=arguments.stores, users=arguments.users)
    if arguments.json:
        print(json.dumps({"most": MOST, "ratios": found}, indent=2))
    else:
        print(f"{HANDLES:,} handles, {OPEN:,} open, {arguments.users} users at once\n")
        print(as_table(figures))
        for store, each in found.items():
            told = ", ".join(f"{name} {value:.2f}" for name, value in each.items())
            print(f"{store}: full to empty: {told} (wanted: at most {MOST:g})")
    sys.exit(any(each["root CPU"] > MOST for each in found.values()))


if __name__ == "__main__":
    main()
