"""The two systems that are compared: the floor, and the host as its command line starts it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.channel import Peer
from bench.processes import Measured, free_port

__all__ = ["SYSTEMS", "System", "floor"]


@dataclass(frozen=True, slots=True)
class System:
    """A root and a skill that run, and how the channel reaches the root."""

    name: str
    peer: Peer
    root: Measured
    skill: Measured


@asynccontextmanager
async def floor(*, folder: Path, service_url: str) -> AsyncIterator[System]:
    """The bare pair of `bench/floor.py`."""
    root_port, skill_port = free_port(), free_port()
    module = ["-m", "bench.floor"]
    skill = Measured(
        "floor-skill",
        [*module, "skill", "--port", str(skill_port)],
        port=skill_port,
        folder=folder,
    )
    root = Measured(
        "floor-root",
        [*module, "root", "--port", str(root_port), "--skill-url", f"{skill.url}/api/messages"],
        port=root_port,
        folder=folder,
    )
    with ExitStack() as stack:
        for process in (skill, root):
            stack.enter_context(process)
            await process.ready()
        yield System("floor", Peer("floor", f"{root.url}/api/messages", "root"), root, skill)


SYSTEMS = {"floor": floor}
"""By name, in the order of an odd round."""
