"""What a route decision costs on one core with many skills: `python -m bench.routing`."""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from types import MappingProxyType

from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.routing.chain import decide
from skills_host.consumer.routing.known import KnownSkills
from skills_host.consumer.routing.route import RouteRequest
from skills_host.routing_settings import RoutingSettings

APP_ID = "a0000000-0000-4000-8000-000000000001"
SYLLABLES = "ba de fi go lu ma ne pi ro su ta ve wi xo yu za".split()
TICK = 0.001


def word(chance: random.Random) -> str:
    """A made-up word; some come often."""
    return "".join(chance.choices(SYLLABLES, k=chance.randint(1, 4)))


def skills(count: int, chance: random.Random) -> dict[str, Skill]:
    """Skills with five phrases of one to four words each."""
    found = {}
    for number in range(count):
        phrases = tuple(
            " ".join(word(chance) for _ in range(chance.randint(1, 4))) for _ in range(5)
        )
        name = f"skill-{number}"
        found[name] = Skill(name, name, APP_ID, "https://s.example/", phrases=phrases)
    return found


async def longest_pause(stop: asyncio.Event) -> float:
    """The longest time that the event loop did not come back, in seconds."""
    longest = 0.0
    while not stop.is_set():
        before = time.perf_counter()
        await asyncio.sleep(TICK)
        longest = max(longest, time.perf_counter() - before - TICK)
    return longest


async def measure(count: int, decisions: int) -> None:
    """Print CPU time of decisions, and the pause of a swap."""
    chance = random.Random(1)
    current = MappingProxyType(skills(count, chance))
    known = KnownSkills(lambda: current, RoutingSettings())
    begun = time.perf_counter()
    await known.now()
    print(f"{count} skills compiled in {time.perf_counter() - begun:.2f} s")
    texts = [" ".join(word(chance) for _ in range(12)) for _ in range(decisions)]
    spent = []
    for text in texts:
        before = time.thread_time()
        await decide(RouteRequest(text), await known.now())
        spent.append((time.thread_time() - before) * 1000)
    spent.sort()
    print(
        f"decision, CPU ms: median {statistics.median(spent):.3f}, "
        f"p99 {spent[int(len(spent) * 0.99)]:.3f}, worst {spent[-1]:.3f}"
    )
    stop = asyncio.Event()
    idle = asyncio.create_task(longest_pause(stop))
    await asyncio.sleep(1)
    stop.set()
    quiet = await idle
    fresh = MappingProxyType(skills(count, chance))
    stop = asyncio.Event()
    watched = asyncio.create_task(longest_pause(stop))
    await asyncio.sleep(0)
    current = fresh
    await known.now()
    stop.set()
    print(f"longest pause of the loop, ms: {await watched * 1000:.1f} while the snapshot is")
    print(f"swapped, {quiet * 1000:.1f} while nothing happens")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--skills", type=int, default=10_000)
    parser.add_argument("--decisions", type=int, default=2000)
    given = parser.parse_args()
    asyncio.run(measure(given.skills, given.decisions))
