"""The benchmark's command: both systems in one run, order alternated, a table of medians."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from bench.channel import Channel
from bench.processes import Usage, free_port, new_loop
from bench.report import Round, as_json, as_table
from bench.systems import SYSTEMS, System

__all__ = ["main"]


async def measured_round(
    channel: Channel, system: System, *, users: int, seconds: float, warm_up: float
) -> Round:
    """One system under load by `users` at once."""
    edges: list[tuple[Usage, Usage]] = []
    sample = await channel.load(
        system.peer,
        users=users,
        seconds=seconds,
        warm_up=warm_up,
        at_edges=lambda: edges.append((system.root.usage(), system.skill.usage())),
    )
    if not sample.turns:
        raise RuntimeError(f"{system.name} ended no turn within {seconds:g} s")
    if abs(sample.arrived - len(sample.turns)) > users:
        said = sample.arrived / len(sample.turns)
        raise RuntimeError(f"{system.name} says {said:.1f} things a turn: not the same work")
    (root_before, skill_before), (root, skill) = edges
    return Round(
        system=system.name,
        users=users,
        seconds=sample.seconds,
        turns=sample.turns,
        root_cpu=root.cpu - root_before.cpu,
        skill_cpu=skill.cpu - skill_before.cpu,
        root_rss=root.rss,
        skill_rss=skill.rss,
    )


async def measured(arguments: argparse.Namespace, *, folder: Path) -> list[Round]:
    """All rounds: in odd ones the systems go in one order, in even ones in the other."""
    rounds = []
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(Channel(port=free_port()))
        systems = [
            await stack.enter_async_context(start(folder=folder, service_url=channel.service_url))
            for name, start in SYSTEMS.items()
            if name in arguments.systems
        ]
        for number in range(arguments.rounds):
            for users in arguments.concurrency:
                for system in systems if number % 2 == 0 else reversed(systems):
                    print(f"round {number + 1}: {system.name}, {users} at once", file=sys.stderr)
                    rounds.append(
                        await measured_round(
                            channel,
                            system,
                            users=users,
                            seconds=arguments.seconds,
                            warm_up=arguments.warm_up,
                        )
                    )
    return rounds


def conditions(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a reader needs to know to compare two runs."""
    return {
        "python": platform.python_version(),
        "loop": "uvloop" if new_loop() else "asyncio",
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "warm_up": arguments.warm_up,
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
    parser.add_argument("--seconds", type=float, default=4.0, help="measured time of a round")
    parser.add_argument("--warm-up", type=float, default=1.0, help="load before it, not measured")
    parser.add_argument("--concurrency", type=numbers, default=[1, 8, 32], help="users at once")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each system and number")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
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
    about = conditions(arguments)
    if arguments.json:
        print(json.dumps(as_json(rounds, conditions=about), indent=2))
        return
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(as_table(rounds))


if __name__ == "__main__":
    main()
