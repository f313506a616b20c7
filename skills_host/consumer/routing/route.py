"""The route decision: what is done with an activity of a user. Each step is pure.

A step has an answer or leaves it to the next. Skills that are not granted to who asks do not exist
for any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.routing.decision import Candidate, RouteDecision, RouteKind
from skills_host.consumer.routing.examples import ROOT
from skills_host.consumer.routing.grants import Asker, Visible
from skills_host.consumer.routing.reserved import Reserved, ReservedKind
from skills_host.consumer.routing.rules import RuleIndex, words_of
from skills_host.consumer.session import IDLE, Pending, Session
from skills_host.routing_settings import BARS, Bars, Help, Interruption

__all__ = [
    "CHOICES",
    "LISTENED",
    "NOBODY",
    "Known",
    "Nearest",
    "RouteRequest",
    "STEPS",
    "Step",
    "interrupting",
    "judged",
    "ranked",
    "settled",
]

# Nobody names a skill behind so many characters, and megabytes of words would keep others waiting.
LISTENED = 4096
CHOICES = 3
NOBODY = "-"  # what a button picks that says “none of these”
PATIENCE = 600.0  # seconds for which an answer to a question of the root is understood


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """What is to be decided about: an activity, who sent it, and the session it comes into.

    `name` is that of an event or invoke, `picked` the skill that a button names, `owner` the skill
    that sent the card which this answers. `key` is that of the turn, `now` seconds since the epoch;
    skills that have `tried` the words are not asked again.
    """

    text: str
    type: str = "message"
    name: str = ""
    locale: str = ""
    asker: Asker = field(default_factory=Asker)
    picked: str = ""
    owner: str = ""
    reserved: Reserved | None = None
    session: Session = IDLE
    key: str = ""
    now: float = 0.0
    tried: frozenset[str] = frozenset()

    @property
    def active(self) -> str:
        """The skill that has the floor; empty if none has."""
        return "" if self.session.active is None else self.session.active.skill


class Nearest(Protocol):
    """What finds the skills of the nearest examples."""

    def found(self, text: str, visible: Visible, *, locale: str = "") -> tuple[Candidate, ...]:
        """The best skills, best first; the root's class is `ROOT`."""
        ...


@dataclass(frozen=True, slots=True)
class Known:
    """All that decisions are made from: the skills of one snapshot, and what they are found by."""

    skills: Mapping[str, Skill]
    rules: RuleIndex
    examples: Nearest | None = None
    policy: Bars = BARS["builtin"]
    fallback: str = ""


Step = Callable[[RouteRequest, Known, Visible], RouteDecision | None]
"""One step of a decision; None leaves it to the next."""


def answered(request: RouteRequest, known: Known, visible: Visible) -> RouteDecision | None:
    """The user answers the root's question: by number, name or button."""
    pending = _open_question(request)
    if pending is None:
        return None
    said = words_of(request.text[:LISTENED])
    choices = tuple(map(Candidate, pending.choices, [1.0] * len(pending.choices)))
    chosen = request.picked or _choice(said, pending.choices, known)
    if chosen in pending.choices and visible(chosen):
        kind = RouteKind.STAY if chosen == request.active else RouteKind.SKILL
        kind = RouteKind.SWITCH if kind is RouteKind.SKILL and request.active else kind
        return RouteDecision(kind, chosen, choices, "answer", "chosen", replays=True)
    if said == str(len(pending.choices) + 1) or request.picked == NOBODY:
        return RouteDecision(RouteKind.NONE, None, choices, "answer", "none of these")
    return None


def _open_question(request: RouteRequest) -> Pending | None:
    """The question that this may answer: the turn that asked it does not, should it run again."""
    pending = request.session.pending
    if pending is None or request.type != "message" or pending.key == request.key:
        return None
    return pending if request.now - pending.at <= PATIENCE else None


def _choice(said: str, choices: Sequence[str], known: Known) -> str:
    if said.isdecimal() and 0 < int(said[:3]) <= len(choices):
        return choices[int(said[:3]) - 1]
    return next((name for name in choices if said in _names(name, known)), "")


def _names(name: str, known: Known) -> list[str]:
    skill = known.skills.get(name)
    names = (name,) if skill is None else (name, skill.title, *skill.aliases)
    return [words_of(text) for text in names]


def reserved(request: RouteRequest, known: Known, visible: Visible) -> RouteDecision | None:
    """Words for the root itself: help, a list, or another skill by name."""
    heard = request.reserved
    if heard is None or request.type != "message":
        return None
    if heard.kind is ReservedKind.HELP:
        active = known.skills.get(request.active)
        if active is None or active.help is Help.ROOT:
            return RouteDecision(RouteKind.HELP, policy="reserved")
    if heard.kind is ReservedKind.LIST:
        return RouteDecision(RouteKind.LIST, policy="reserved")
    if heard.kind is ReservedKind.SWITCH:
        return _moved(request, known.rules.named(heard.name, visible), "reserved", None)
    return None


def addressed(request: RouteRequest, known: Known, visible: Visible) -> RouteDecision | None:
    """A skill that the message names at its beginning (`@alias`, `/skill alias`), or a button."""
    if request.type != "message":
        return None
    if request.picked not in ("", NOBODY):
        picked = [request.picked] if visible(request.picked) else []
        return _moved(request, picked, "button", None)
    text = request.text[:LISTENED].lstrip()
    if text.startswith("@"):
        name, _, rest = text[1:].partition(" ")
    elif text.lower().startswith("/skill "):
        name, _, rest = text[len("/skill ") :].lstrip().partition(" ")
    else:
        return None
    found = known.rules.named(name.rstrip(",:"), visible)
    return _moved(request, found, "addressed", rest.strip() or None)


def _moved(
    request: RouteRequest, found: Sequence[str], policy: str, text: str | None
) -> RouteDecision | None:
    """The user asks for a skill by its name; several may have the same one."""
    if not found:
        return None
    candidates = tuple(Candidate(name, 1.0, policy) for name in found)
    if len(found) > 1:
        return RouteDecision(RouteKind.AMBIGUOUS, None, candidates[:CHOICES], policy, policy)
    kind = RouteKind.SKILL
    if request.active:
        kind = RouteKind.STAY if request.active == found[0] else RouteKind.SWITCH
    return RouteDecision(kind, found[0], candidates, policy, policy, text=text)


def owned(request: RouteRequest, known: Known, visible: Visible) -> RouteDecision | None:
    """What is no message: for who sent the card, who has the floor, or who says to know it."""
    is_submit = request.type == "message" and not request.text
    if request.owner and (is_submit or request.type == "invoke") and visible(request.owner):
        if request.owner == request.active:
            return RouteDecision(RouteKind.STAY, request.owner, policy="owner")
        takes = request.type == "message" and not request.active
        kind = RouteKind.SKILL if takes else RouteKind.ASIDE
        return RouteDecision(kind, request.owner, policy="owner")
    if request.type == "message":
        return None
    active = known.skills.get(request.active)
    if active is not None and _accepts(active, request):
        return RouteDecision(RouteKind.STAY, active.name, policy="sticky")
    if request.type in ("event", "invoke"):
        declared = known.rules.declaring(request.type, request.name, visible)
        if len(declared) == 1:
            kind = (
                RouteKind.ASIDE if request.active or request.type == "invoke" else RouteKind.SKILL
            )
            return RouteDecision(kind, declared[0], policy="declared")
    return RouteDecision(RouteKind.ROOT, policy="not a message")


def _accepts(skill: Skill, request: RouteRequest) -> bool:
    """True if a skill takes what came; one that declares nothing takes anything."""
    if skill.accepts is None:
        return True
    return request.type in skill.accepts or f"{request.type}/{request.name}" in skill.accepts


def sticky(request: RouteRequest, known: Known, visible: Visible) -> RouteDecision | None:
    """Whoever has the floor keeps it, where nothing may interrupt it."""
    active = known.skills.get(request.active)
    if active is None or active.interruption is not Interruption.NEVER:
        return None
    return RouteDecision(RouteKind.STAY, active.name, policy="sticky")


STEPS: tuple[Step, ...] = (answered, reserved, addressed, owned, sticky)
"""The steps before any scoring, in their order."""


def settled(request: RouteRequest, known: Known, visible: Visible) -> RouteDecision | None:
    """The decision of the steps before any scoring; None if words have to be looked at."""
    trace: list[str] = []
    for step in STEPS:
        decision = step(request, known, visible)
        trace.append(f"{step.__name__}: {decision.kind if decision else 'no'}")
        if decision is not None:
            return replace(decision, trace=tuple(trace))
    return None


def ranked(request: RouteRequest, known: Known, visible: Visible) -> RouteDecision:
    """What rules and examples say of the words: one skill, a choice, or nothing."""
    text = request.text[:LISTENED]
    ruled = known.rules.found(text, visible)
    equals = tuple(found for found in ruled if found.score == 1.0)
    trace: tuple[str, ...] = (f"rules: {len(ruled)}",)
    if len(equals) == 1:
        return RouteDecision(RouteKind.SKILL, equals[0].skill, ruled, "rules", "longest", trace)
    if known.examples is None:
        near: tuple[Candidate, ...] = ()
    else:
        among = {found.skill for found in equals}
        shown: Visible = (lambda name: name in among and visible(name)) if among else visible
        near = known.examples.found(text, shown, locale=request.locale)
        trace = (*trace, f"examples: {', '.join(f'{c.skill} {c.score:.2f}' for c in near) or 0}")
    decision = judged(near, threshold=known.policy.threshold, margin=known.policy.margin)
    decision = replace(decision, router="examples", trace=trace)
    if equals and decision.kind is not RouteKind.SKILL:
        candidates = equals[:CHOICES]
        return RouteDecision(RouteKind.AMBIGUOUS, None, candidates, "rules", "equals", trace)
    return decision


def judged(candidates: Sequence[Candidate], *, threshold: float, margin: float) -> RouteDecision:
    """One skill if it is good enough and far enough before the next; else a choice, or nothing."""
    good = [found for found in candidates if found.score >= threshold]
    shown = tuple(found for found in candidates if found.skill != ROOT)
    if not good or good[0].skill == ROOT:
        policy = "root" if good else "threshold"
        return RouteDecision(RouteKind.UNKNOWN, None, shown, policy=policy)
    best, *others = candidates
    if not others or best.score - others[0].score >= margin:
        return RouteDecision(RouteKind.SKILL, best.skill, shown, policy="threshold")
    close = tuple(c for c in shown if best.score - c.score < margin)[:CHOICES]
    if len(close) == 1:
        # It is close to nothing but the root's own words.
        return RouteDecision(RouteKind.UNKNOWN, None, shown, policy="margin")
    return RouteDecision(RouteKind.AMBIGUOUS, None, close, policy="margin")


def interrupting(request: RouteRequest, known: Known, found: RouteDecision) -> RouteDecision:
    """What becomes of a decision about words while another skill has the floor."""
    active = known.skills[request.active]
    stay = RouteDecision(
        RouteKind.STAY, active.name, found.candidates, found.router, "sticky", found.trace
    )
    if found.kind is not RouteKind.SKILL or found.skill in (None, active.name):
        return stay
    if not _passes_bar(found, known.policy):
        return replace(stay, policy="below the bar")
    kind = RouteKind.SWITCH if active.interruption is Interruption.AUTO else RouteKind.ASK
    return replace(found, kind=kind, policy=f"interruption {active.interruption}")


def _passes_bar(found: RouteDecision, policy: Bars) -> bool:
    if found.router == "rules":
        return True
    best, *others = (candidate.score for candidate in found.candidates)
    second = others[0] if others else 0.0
    return best >= policy.switch and best - second >= 2 * policy.margin
