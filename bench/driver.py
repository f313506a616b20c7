"""The benchmark's command: all contestants in one run, order alternated, tables and verdicts."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.channel import Channel
from bench.lab import started_lab
from bench.page import write_page
from bench.peers import PEERS, names_of, peer_system, why_not
from bench.processes import Usage, free_port, new_loop
from bench.report import Round, as_json, as_table, measured_of
from bench.systems import DIRECT, EXPECT_REPLIES, HOSTS, NORMAL, System, floor, host
from bench.verdict import as_verdict_table, verdicts_of

__all__ = ["main"]

SYSTEMS = ("floor", *HOSTS, *PEERS)
WAYS = (NORMAL, EXPECT_REPLIES, DIRECT)
DIRECT_USERS = 8
LIBRARIES = ("quart", "hypercorn", "aiohttp", "msgspec", "PyJWT")


async def measured_round(
    channel: Channel, system: System, *, way: str, users: int, seconds: float, warm_up: float
) -> Round:
    """One system, asked in one way by `users` at once."""
    edges: list[tuple[Usage, Usage]] = []
    root = system.roots[way]
    sample = await channel.load(
        system.doors[way],
        users=users,
        seconds=seconds,
        warm_up=warm_up,
        at_edges=lambda: edges.append((root.usage(), system.skill.usage())),
    )
    if not sample.turns:
        raise RuntimeError(f"{system.name} ended no turn within {seconds:g} s")
    if abs(sample.arrived - len(sample.turns)) > users:
        said = sample.arrived / len(sample.turns)
        raise RuntimeError(f"{system.name} says {said:.1f} things a turn: not the same work")
    (root_before, skill_before), (root_after, skill_after) = edges
    return Round(
        system=system.name,
        way=way,
        users=users,
        seconds=sample.seconds,
        turns=sample.turns,
        root_cpu=root_after.cpu - root_before.cpu,
        skill_cpu=skill_after.cpu - skill_before.cpu,
        root_rss=root_after.rss,
        skill_rss=skill_after.rss,
    )


async def measured(arguments: argparse.Namespace, *, folder: Path) -> list[Round]:
    """All rounds: in odd ones the systems go in one order, in even ones in the other."""
    rounds = []
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(Channel(port=free_port()))
        names = tuple(arguments.systems)
        systems = await stack.enter_async_context(
            running(names, folder=folder, service_url=channel.service_url)
        )
        for number in range(arguments.rounds):
            for way, users in asked(arguments):
                for system in systems if number % 2 == 0 else reversed(systems):
                    if way not in system.doors:
                        continue
                    print(f"round {number + 1}: {system.name}, {way}, {users}", file=sys.stderr)
                    rounds.append(
                        await measured_round(
                            channel,
                            system,
                            way=way,
                            users=users,
                            seconds=arguments.seconds,
                            warm_up=arguments.warm_up,
                        )
                    )
    return rounds


def asked(arguments: argparse.Namespace) -> list[tuple[str, int]]:
    """Which ways of asking, by how many users at once."""
    return [
        (way, users)
        for way in arguments.ways
        for users in ([DIRECT_USERS] if way == DIRECT else arguments.concurrency)
    ]


@asynccontextmanager
async def running(
    names: tuple[str, ...], *, folder: Path, service_url: str
) -> AsyncIterator[list[System]]:
    """The systems of these names that can run here; of others it is said why they cannot."""
    apps = [app for name in names if name in HOSTS for app in HOSTS[name].apps]
    absent = {name: why for name in names if name in PEERS and (why := why_not(name))}
    apps += [app for name in names if name in PEERS for app in names_of(name)]
    for name, why in absent.items():
        print(f"bench: without {name}: {why}", file=sys.stderr)
    async with AsyncExitStack() as stack:
        lab = await stack.enter_async_context(started_lab(apps, folder=folder))
        systems = []
        for name in names:
            if name == "floor":
                system = floor(folder=folder, service_url=service_url)
            elif name in HOSTS:
                system = host(HOSTS[name], lab=lab, folder=folder, service_url=service_url)
            elif name not in absent:
                system = peer_system(name, lab=lab, folder=folder, service_url=service_url)
            else:
                continue
            systems.append(await stack.enter_async_context(system))
        yield systems


def conditions(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a reader needs to know to compare two runs."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "python": platform.python_version(),
        "loop": "uvloop" if new_loop() else "asyncio",
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "warm_up": arguments.warm_up,
        **{library: version(library) for library in LIBRARIES},
    }


def numbers(text: str) -> list[int]:
    """`1,8,32` as a list of positive numbers."""
    found = [int(part) for part in text.split(",")]
    if not found or min(found) < 1:
        raise ValueError(text)
    return found


def parsed(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line's arguments."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="measured time of a round")
    parser.add_argument("--warm-up", type=float, default=1.0, help="load before it, not measured")
    parser.add_argument(
        "--concurrency", type=numbers, default=[1, 8, 32, 128], help="users at once"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each system and number")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=["floor", "ours"])
    parser.add_argument(
        "--all", dest="systems", action="store_const", const=list(SYSTEMS), help="all contestants"
    )
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--json", action="store_true", help="JSON instead of tables")
    parser.add_argument("--write", action="store_true", help="add it to docs/performance.md")
    return parser.parse_args(argv)


def main() -> None:
    """Measure and print."""
    arguments = parsed()
    with tempfile.TemporaryDirectory(prefix="skills-host-bench-") as folder:
        try:
            with asyncio.Runner(loop_factory=new_loop()) as runner:
                rounds = runner.run(measured(arguments, folder=Path(folder)))
        except RuntimeError as exc:
            logs = [f"{log.name}:\n{log.read_text()[-2000:]}" for log in Path(folder).glob("*.log")]
            sys.exit("\n".join([f"bench: {exc}", *logs]))
    about, figures = conditions(arguments), measured_of(rounds)
    verdicts = verdicts_of(figures)
    if arguments.write:
        write_page(conditions=about, measured=figures, verdicts=verdicts)
    if arguments.json:
        print(json.dumps(as_json(figures, conditions=about, verdicts=verdicts), indent=2))
        return
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(as_table(figures), as_verdict_table(verdicts), sep="\n\n")


if __name__ == "__main__":
    main()
