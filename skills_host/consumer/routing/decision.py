"""A route decision: what is done with an activity of a user, why, and by which step. Values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["Candidate", "RouteDecision", "RouteKind"]


class RouteKind(StrEnum):
    """What is done: a skill gets the floor (`skill`), keeps it (`stay`) or gets this alone
    (`aside`); several are asked (`fan-out`); the user is asked which one (`ambiguous`) or whether
    to leave the active one (`ask`), or wants none of what was offered (`none`); the root helps,
    lists its skills, deals with it itself (`root`), or does not understand (`unknown`)."""

    SKILL = "skill"
    STAY = "stay"
    SWITCH = "switch"
    ASIDE = "aside"
    FAN_OUT = "fan-out"
    ASK = "ask"
    AMBIGUOUS = "ambiguous"
    NONE = "none"
    HELP = "help"
    LIST = "list"
    ROOT = "root"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A skill that may be meant: `score` from 0 to 1, and why it is one.

    `slots` are the named groups of the pattern that matched.
    """

    skill: str
    score: float
    why: str = ""
    slots: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RouteDecision:
    """The decision: the skill, if there is one, and all candidates, best first.

    `router` is what found it, `policy` the rule that decided, `trace` what each step had to say.
    `text` is what is forwarded in the place of the words that were said, if that is less; `replays`
    if it is about the words of an earlier message.
    """

    kind: RouteKind
    skill: str | None = None
    candidates: tuple[Candidate, ...] = ()
    router: str = ""
    policy: str = ""
    trace: tuple[str, ...] = ()
    text: str | None = None
    replays: bool = False
    id: str = field(default="", compare=False)

    @property
    def chosen(self) -> Candidate | None:
        """The candidate that the skill was, if a router found it."""
        return next((found for found in self.candidates if found.skill == self.skill), None)

    def as_dict(self) -> Mapping[str, Any]:
        """The decision as JSON, without what the user said."""
        return {
            "id": self.id,
            "kind": str(self.kind),
            "skill": self.skill,
            "candidates": [
                {"skill": found.skill, "score": round(found.score, 3), "why": found.why}
                for found in self.candidates
            ],
            "router": self.router,
            "policy": self.policy,
            "trace": list(self.trace),
        }
