"""From rounds to medians, and from medians to a table or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any

__all__ = ["Figures", "Round", "as_json", "as_table", "figures_of"]


@dataclass(frozen=True, slots=True)
class Round:
    """One system at one number of users: CPU in seconds over the measured time, memory in bytes."""

    system: str
    users: int
    seconds: float
    turns: Sequence[float]
    root_cpu: float
    skill_cpu: float
    root_rss: int
    skill_rss: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the rounds: CPU and latency in milliseconds, memory in megabytes."""

    turns_per_second: float
    root_cpu: float
    skill_cpu: float
    p50: float
    p95: float
    p99: float
    root_rss: float
    skill_rss: float


def figures_of(rounds: Sequence[Round]) -> Figures:
    """The figures of one system at one number of users, from all its rounds."""
    latencies = sorted(turn for each in rounds for turn in each.turns)
    cuts = quantiles(latencies, n=100, method="inclusive")
    return Figures(
        turns_per_second=median(len(each.turns) / each.seconds for each in rounds),
        root_cpu=median(each.root_cpu / len(each.turns) for each in rounds) * 1e3,
        skill_cpu=median(each.skill_cpu / len(each.turns) for each in rounds) * 1e3,
        p50=cuts[49] * 1e3,
        p95=cuts[94] * 1e3,
        p99=cuts[98] * 1e3,
        root_rss=max(each.root_rss for each in rounds) / 1e6,
        skill_rss=max(each.skill_rss for each in rounds) / 1e6,
    )


def _grouped(rounds: Sequence[Round]) -> dict[int, dict[str, Figures]]:
    """Users → system → figures."""
    pairs = sorted({(each.users, each.system) for each in rounds})
    grouped: dict[int, dict[str, Figures]] = {users: {} for users, _ in pairs}
    for users, system in pairs:
        own = [each for each in rounds if (each.users, each.system) == (users, system)]
        grouped[users][system] = figures_of(own)
    return grouped


def _ratio(ours: Figures, floor: Figures) -> Figures:
    one, other = asdict(ours), asdict(floor)
    return Figures(**{name: one[name] / other[name] if other[name] else 0.0 for name in one})


def as_table(rounds: Sequence[Round]) -> str:
    """A table for people: the floor, ours, and ours divided by the floor."""
    lines = [
        "              turns/s   CPU per turn, ms    latency, ms             memory, MB",
        "at once                    root   skill     p50     p95     p99     root   skill",
    ]
    for users, systems in _grouped(rounds).items():
        lines.append("")
        shown = [(name, systems[name]) for name in ("floor", "ours") if name in systems]
        lines += [_line(users, name, figures, ".2f") for name, figures in shown]
        if len(shown) == 2:
            lines.append(_line(users, "ratio", _ratio(systems["ours"], systems["floor"]), ".2f"))
    return "\n".join(lines)


def _line(users: int, name: str, figures: Figures, form: str) -> str:
    is_ratio = name == "ratio"
    rate = f"{figures.turns_per_second:.2f}" if is_ratio else f"{figures.turns_per_second:.0f}"
    memory = form if is_ratio else ".0f"
    return (
        f"{'' if is_ratio else users:>4}  {name:<6} {rate:>8}"
        f"  {figures.root_cpu:>6{form}}  {figures.skill_cpu:>6{form}}"
        f"  {figures.p50:>6{form}}  {figures.p95:>6{form}}  {figures.p99:>6{form}}"
        f"   {figures.root_rss:>6{memory}}  {figures.skill_rss:>6{memory}}"
    )


def as_json(rounds: Sequence[Round], *, conditions: dict[str, Any]) -> dict[str, Any]:
    """Everything in the table, and the conditions, for a program."""
    grouped = _grouped(rounds)
    results = [
        {"users": users, "system": system, **asdict(figures)}
        for users, systems in grouped.items()
        for system, figures in systems.items()
    ]
    ratios = [
        {"users": users, **asdict(_ratio(systems["ours"], systems["floor"]))}
        for users, systems in grouped.items()
        if {"ours", "floor"} <= systems.keys()
    ]
    return {"conditions": conditions, "results": results, "ratios": ratios}
