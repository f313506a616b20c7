"""The route decision: what the root does with a user's words. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.routing.rules import matches, words_of

__all__ = ["RouteDecision", "RouteKind", "is_reserved", "route"]


class RouteKind(StrEnum):
    """What is done with the words."""

    SKILL = "skill"
    AMBIGUOUS = "ambiguous"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class RouteDecision:
    """The decision and why: the skill if there is one, else the candidates; `matched` words."""

    kind: RouteKind
    skill: str | None = None
    candidates: tuple[str, ...] = ()
    matched: str = ""


def is_reserved(text: str, reserved: Collection[str]) -> bool:
    """True if the text is nothing but one of the reserved words or phrases."""
    return words_of(text) in reserved


def route(text: str, skills: Mapping[str, Skill]) -> RouteDecision:
    """Which skill the words of a user without an active skill are for."""
    found = matches(text, skills)
    if not found:
        return RouteDecision(RouteKind.UNKNOWN)
    best = len(found[0][1])
    equals = tuple(name for name, matched in found if len(matched) == best)
    if len(equals) > 1:
        return RouteDecision(RouteKind.AMBIGUOUS, candidates=equals, matched=found[0][1])
    return RouteDecision(RouteKind.SKILL, found[0][0], equals, found[0][1])
