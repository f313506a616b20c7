"""Overlaps: what is given for one skill, and is routed to another. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.routing.decision import Candidate, RouteKind
from skills_host.consumer.routing.examples import ROOT, ExampleIndex, examples_of
from skills_host.consumer.routing.grants import Visible
from skills_host.consumer.routing.route import Known, RouteRequest, ranked
from skills_host.consumer.routing.rules import RuleIndex
from skills_host.routing_settings import BARS, ExamplesSettings

__all__ = ["Overlap", "overlaps"]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Phrases and examples of a skill that go to another, `to`: `texts`, of `total` that it has.

    With `asks`, users are asked which of the two they mean.
    """

    skill: str
    to: str
    asks: bool
    texts: tuple[str, ...]
    total: int

    def __str__(self) -> str:
        what = "are asked about, because of" if self.asks else "route to"
        count = f"{len(self.texts)} of {self.total}"
        return f"{self.skill}: {count} phrases and examples {what} {self.to}"

    def as_dict(self) -> dict[str, Any]:
        """The overlap as JSON."""
        return asdict(self) | {"texts": list(self.texts)}


@dataclass(frozen=True, slots=True)
class _Without:
    """The examples but one, as if nobody had thought of it."""

    index: ExampleIndex
    left_out: int

    def found(self, text: str, visible: Visible, *, locale: str = "") -> tuple[Candidate, ...]:
        return self.index.found(text, visible, locale=locale, but=self.left_out)


def overlaps(
    skills: Mapping[str, Skill],
    *,
    policy: ExamplesSettings,
    of: Collection[str] | None = None,
) -> tuple[Overlap, ...]:
    """What of the skills' own phrases and examples goes to another skill, the most first.

    Each example is decided about without itself, by the built-in neighbours and for somebody who
    may be routed to all skills. `of` names the skills that are looked at; None for all. What the
    settings say of another engine's scores does not count.
    """
    bars = policy.bars() if policy.engine == "builtin" else BARS["builtin"]
    examples = examples_of(skills)
    index = ExampleIndex(examples) if examples else None
    rules = RuleIndex(skills)
    found: dict[tuple[str, str, bool], list[str]] = defaultdict(list)
    totals: dict[str, int] = defaultdict(int)

    def look(skill: str, text: str, locale: str, known: Known) -> None:
        totals[skill] += 1
        for other, asks in _others(skill, RouteRequest(text, locale=locale), known):
            found[skill, other, asks].append(text)

    for name, skill in skills.items():
        if of is None or name in of:
            for phrase in dict.fromkeys(skill.phrases):
                look(name, phrase, "", Known(skills, rules, index, bars))
    for number, (name, locale, text) in enumerate(examples):
        if name != ROOT and index is not None and (of is None or name in of):
            look(name, text, locale, Known(skills, rules, _Without(index, number), bars))
    made = (
        Overlap(skill, other, asks, tuple(texts), totals[skill])
        for (skill, other, asks), texts in found.items()
    )
    return tuple(sorted(made, key=lambda one: (-len(one.texts), one.skill, one.to)))


def _others(skill: str, request: RouteRequest, known: Known) -> list[tuple[str, bool]]:
    """The other skills that words go to, or are asked about with: (skill, whether asked)."""
    decision = ranked(request, known, lambda _: True)
    if decision.kind is RouteKind.SKILL and decision.skill not in (None, skill):
        return [(decision.skill or "", False)]
    if decision.kind is RouteKind.AMBIGUOUS:
        return [(one.skill, True) for one in decision.candidates if one.skill != skill]
    return []
