"""The targets, and what one run says of each: ratios within the run only. Pure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.report import Figures, Measured

__all__ = ["Verdict", "as_verdict_table", "verdicts_of"]

NODE = ("bfjs", "agjs")
PEERS = ("bfpy", "bfjs", "agpy", "agjs")
MIDDLING, BUSY = 8, 32
MANY_CORES = 6


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target: the ratio that was seen, how it is compared, and what it is to be."""

    what: str
    seen: float
    sign: str
    target: float

    @property
    def is_met(self) -> bool:
        """True if the ratio is on the right side."""
        return self.seen <= self.target if self.sign == "≤" else self.seen >= self.target


def verdicts_of(measured: Measured) -> list[Verdict]:
    """The verdict on each target whose figures were measured."""
    return [*_cpu(measured), *_rates(measured), *_added(measured), *_stores(measured)]


def as_verdict_table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts in Markdown."""
    lines = ["| target | wanted | seen | met |", "|---|---:|---:|---|"]
    for one in verdicts:
        met = "yes" if one.is_met else "no"
        lines.append(f"| {one.what} | {one.sign} {one.target:g} | {one.seen:.2f} | {met} |")
    if (os.cpu_count() or 1) < MANY_CORES:
        lines.append("| two root processes: turns/s against one's | – | – | not measurable here |")
    return "\n".join(lines)


def _ratio(
    measured: Measured,
    value: Callable[[Figures], float],
    *,
    of: tuple[str, int, str],
    to: tuple[str, int, str],
) -> float | None:
    one, other = measured.get(of), measured.get(to)
    return None if one is None or other is None else value(one) / value(other)


def _root_cpu(figures: Figures) -> float:
    return figures.root_cpu


def _cpu(measured: Measured) -> Iterator[Verdict]:
    ours = ("normal", BUSY, "ours")
    wanted = {"floor": 1.5, **dict.fromkeys(NODE, 0.4), "agpy": 0.25, "bfpy": 0.06}
    for system, target in wanted.items():
        seen = _ratio(measured, _root_cpu, of=ours, to=("normal", BUSY, system))
        if seen is not None:
            yield Verdict(f"root CPU per turn, {BUSY} at once, to {system}'s", seen, "≤", target)
    seen = _ratio(measured, _root_cpu, of=("expectReplies", BUSY, "ours"), to=ours)
    if seen is not None:
        yield Verdict("expectReplies: root CPU per turn to our normal turn's", seen, "≤", 0.7)


def _rates(measured: Measured) -> Iterator[Verdict]:
    for way in ("normal", "expectReplies"):
        ours = measured.get((way, BUSY, "ours"))
        rates = [
            found.turns_per_second for peer in PEERS if (found := measured.get((way, BUSY, peer)))
        ]
        if ours is not None and rates:
            seen = ours.turns_per_second / max(rates)
            yield Verdict(f"turns/s, {way}, {BUSY} at once, to the best peer's", seen, "≥", 2.0)


def _added(measured: Measured) -> Iterator[Verdict]:
    added = {
        system: measured["normal", MIDDLING, system].p99 - direct.p99
        for system in ("ours", *PEERS)
        if (direct := measured.get(("direct", MIDDLING, system)))
        and ("normal", MIDDLING, system) in measured
    }
    ours = added.pop("ours", None)
    if ours is not None and added:
        seen = ours / min(added.values())
        what = f"p99 added by the root, {MIDDLING} at once, to the least of the peers'"
        yield Verdict(what, seen, "≤", 1.0)


def _stores(measured: Measured) -> Iterator[Verdict]:
    pairs = (
        ("PostgreSQL and Redis: root CPU per turn to the floor's", "ours-pg", "floor", 2.2),
        ("two root processes: CPU per turn to one's", "ours-2", "ours", 1.1),
    )
    for what, system, other, target in pairs:
        seen = _ratio(measured, _root_cpu, of=("normal", BUSY, system), to=("normal", BUSY, other))
        if seen is not None:
            yield Verdict(what, seen, "≤", target)
