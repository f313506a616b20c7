"""From rounds to medians, and from medians to tables: for people, for programs, for the docs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any

__all__ = ["Figures", "Measured", "Round", "as_json", "as_table", "figures_of", "measured_of"]


@dataclass(frozen=True, slots=True)
class Round:
    """One system, asked in one way by so many users at once.

    CPU in seconds over the measured time, memory in bytes: of all processes of root and skill.
    """

    system: str
    way: str
    users: int
    seconds: float
    turns: Sequence[float]
    root_cpu: float
    skill_cpu: float
    root_rss: int
    skill_rss: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the rounds: CPU and latency in milliseconds, memory in megabytes.

    `spread` is how far CPU per turn of the root went from its median, as a part of it.
    """

    turns_per_second: float
    root_cpu: float
    skill_cpu: float
    p50: float
    p95: float
    p99: float
    root_rss: float
    skill_rss: float
    spread: float


Measured = Mapping[tuple[str, int, str], Figures]
"""The figures by way of asking, users at once, and system."""


def figures_of(rounds: Sequence[Round]) -> Figures:
    """The figures of all rounds of one system, asked in one way by one number of users."""
    latencies = sorted(turn for each in rounds for turn in each.turns)
    cuts = quantiles(latencies, n=100, method="inclusive")
    costs = [each.root_cpu / len(each.turns) * 1e3 for each in rounds]
    middle = median(costs)
    return Figures(
        turns_per_second=median(len(each.turns) / each.seconds for each in rounds),
        root_cpu=middle,
        skill_cpu=median(each.skill_cpu / len(each.turns) for each in rounds) * 1e3,
        p50=cuts[49] * 1e3,
        p95=cuts[94] * 1e3,
        p99=cuts[98] * 1e3,
        root_rss=max(each.root_rss for each in rounds) / 1e6,
        skill_rss=max(each.skill_rss for each in rounds) / 1e6,
        spread=max(abs(cost - middle) for cost in costs) / middle if middle else 0.0,
    )


def measured_of(rounds: Sequence[Round]) -> Measured:
    """The figures of everything that was measured, in the order in which it was first."""
    keys = dict.fromkeys((each.way, each.users, each.system) for each in rounds)
    return {
        key: figures_of([each for each in rounds if (each.way, each.users, each.system) == key])
        for key in keys
    }


def as_table(measured: Measured) -> str:
    """A Markdown table for each way of asking; CPU beside the floor's in the same run."""
    return "\n\n".join(_table(measured, way) for way in dict.fromkeys(key[0] for key in measured))


def _table(measured: Measured, way: str) -> str:
    lines = [
        f"**{way}**",
        "",
        "| at once | system | turns/s | root CPU ms | × floor | ± | skill CPU ms | p50 ms | p95 ms"
        " | p99 ms | root MB | skill MB |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for (asked, users, system), figures in sorted(measured.items(), key=lambda item: item[0][1]):
        if asked == way:
            lines.append(_row(users, system, figures, measured.get((way, users, "floor"))))
    return "\n".join(lines)


def _row(users: int, system: str, figures: Figures, floor: Figures | None) -> str:
    ratio = f"{figures.root_cpu / floor.root_cpu:.2f}" if floor and floor.root_cpu else "–"
    cells = [
        str(users),
        system,
        f"{figures.turns_per_second:.0f}",
        f"{figures.root_cpu:.2f}",
        ratio,
        f"{figures.spread:.0%}",
        f"{figures.skill_cpu:.2f}",
        *(f"{value:.1f}" for value in (figures.p50, figures.p95, figures.p99)),
        f"{figures.root_rss:.0f}",
        f"{figures.skill_rss:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def as_json(
    measured: Measured, *, conditions: dict[str, Any], verdicts: Sequence[Any]
) -> dict[str, Any]:
    """Everything in the tables, and the conditions, for a program."""
    results = [
        {"way": way, "users": users, "system": system, **asdict(figures)}
        for (way, users, system), figures in measured.items()
    ]
    return {
        "conditions": conditions,
        "results": results,
        "verdicts": [asdict(verdict) for verdict in verdicts],
    }
