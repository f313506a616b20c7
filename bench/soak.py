"""A long run at a steady load: what grows, what fails, and how long the event loop is held up.

`scripts/bench soak` finds out how many turns a second the host can do, asks for a part of that for
ten minutes, and looks at the root's process all the while.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.channel import Channel, Peer
from bench.lab import started_lab
from bench.probed import VARIABLE
from bench.processes import Measured, Usage, free_port, new_loop
from bench.systems import HOSTS, NORMAL, host

__all__ = ["main"]

PROBED = (sys.executable, "-m", "bench.probed")
USERS = 64
SAMPLE_SECONDS = 10.0
TRY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What a probe saw in all its seconds."""

    worst_ms: float
    blocked: int
    seconds: int
    first_tasks: float
    last_tasks: float


def seen_in(path: Path, *, after: int) -> Seen:
    """What is written of a probe, without the lines up to `after`."""
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    lines = lines[after:]
    tasks = [line["tasks"] for line in lines]
    part = max(1, len(tasks) // 10)
    return Seen(
        worst_ms=max(line["worst_ms"] for line in lines),
        blocked=sum(line["blocked"] for line in lines),
        seconds=len(lines),
        first_tasks=median(tasks[:part]),
        last_tasks=median(tasks[-part:]),
    )


@contextmanager
def idle_probe(path: Path) -> Iterator[None]:
    """The same probe in a process that does nothing else."""
    process = subprocess.Popen([*PROBED, "idle"], env=os.environ | {VARIABLE: str(path)})
    try:
        yield
    finally:
        process.terminate()
        process.wait()


async def watched(root: Measured, over: asyncio.Event) -> list[Usage]:
    """What the root has used, every few seconds until it is over."""
    found = []
    while not over.is_set():
        found.append(root.usage())
        try:
            async with asyncio.timeout(SAMPLE_SECONDS):
                await over.wait()
        except TimeoutError:
            continue
    return found


async def soaked(
    channel: Channel, peer: Peer, root: Measured, *, rate: float, seconds: float
) -> None:
    """Load the root, and print what it has used."""
    over = asyncio.Event()
    watching = asyncio.create_task(watched(root, over))
    sample = await channel.paced(peer, users=USERS, rate=rate, seconds=seconds)
    over.set()
    used = await watching
    turns = sorted(sample.turns)
    print(f"turns: {len(turns)} at {rate:.0f}/s for {seconds:.0f} s, none failed")
    middle, late = turns[len(turns) // 2], turns[-1 - len(turns) // 100]
    print(f"latency ms: p50 {middle * 1e3:.1f}, p99 {late * 1e3:.1f}, worst {turns[-1] * 1e3:.1f}")
    print(f"memory MB: {grown([one.rss / 1e6 for one in used])}")
    print(f"open files and sockets: {grown([one.files for one in used])}")


def grown(values: Sequence[float]) -> str:
    """How the first fifth of the values compares to the last."""
    part = max(1, len(values) // 5)
    first, last = median(values[:part]), median(values[-part:])
    return f"first fifth {first:.1f}, last fifth {last:.1f}, most {max(values):.1f}"


async def run(arguments: argparse.Namespace, folder: Path) -> None:
    """Find the most that the host can do, then soak it."""
    kind, busy, idle = HOSTS["ours"], folder / "busy.jsonl", folder / "idle.jsonl"
    os.environ[VARIABLE] = str(busy)
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(Channel(port=free_port()))
        lab = await stack.enter_async_context(started_lab(kind.apps, folder=folder))
        stack.enter_context(idle_probe(idle))
        system = await stack.enter_async_context(
            host(kind, lab=lab, folder=folder, service_url=channel.service_url, launcher=PROBED)
        )
        peer, root = system.doors[NORMAL], system.roots[NORMAL]
        most = await channel.load(
            peer, users=32, seconds=TRY_SECONDS, warm_up=2.0, at_edges=lambda: None
        )
        rate = len(most.turns) / most.seconds * arguments.load
        # What this process is held up itself, the root would have as a burst.
        gc.collect()
        gc.freeze()
        before = len(busy.read_text().splitlines()), len(idle.read_text().splitlines())
        await soaked(channel, peer, root, rate=rate, seconds=arguments.minutes * 60)
        for name, path, after in (("root", busy, before[0]), ("idle", idle, before[1])):
            found = seen_in(path, after=after)
            print(
                f"event loop of {name}: worst {found.worst_ms:.1f} ms,"
                f" over 20 ms {found.blocked} times in {found.seconds} s;"
                f" tasks {found.first_tasks:.0f} → {found.last_tasks:.0f}"
            )


def main() -> None:
    """Soak and print."""
    parser = argparse.ArgumentParser(prog="scripts/bench soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--load", type=float, default=0.7, help="part of the most that it can do")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="skills-host-soak-") as folder:
        with asyncio.Runner(loop_factory=new_loop()) as runner:
            runner.run(run(arguments, Path(folder)))


if __name__ == "__main__":
    main()
