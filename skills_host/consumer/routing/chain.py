"""The chain of routers: the first that is sure decides; the others are not asked."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.routing.decision import Candidate, RouteDecision, RouteKind
from skills_host.consumer.routing.grants import Visible, visible_to
from skills_host.consumer.routing.route import (
    Known,
    RouteRequest,
    interrupting,
    judged,
    ranked,
    settled,
)
from skills_host.routing_settings import RoutingSettings

__all__ = ["Router", "RouterStep", "decide", "routers_of"]

log = logging.getLogger(__name__)

Router = Callable[[RouteRequest, Sequence[Skill]], Awaitable[Sequence[Candidate] | None]]
"""A router of one's own: candidates among the skills that the user may reach, or None for the next
router to decide. What it raises counts as None."""


@dataclass(frozen=True, slots=True)
class RouterStep:
    """A router in the chain, under the name that decisions tell; its best candidate needs a score
    of `threshold` and a `margin` before the next."""

    name: str
    router: Router
    threshold: float
    margin: float = 0.0


def routers_of(
    settings: RoutingSettings, own: Router | None, model: Router | None
) -> tuple[RouterStep, ...]:
    """The routers that are asked after rules and examples: the root's own, and a language model."""
    bars = settings.examples.bars("own")
    steps: list[RouterStep] = []
    if own is not None:
        steps.append(RouterStep("own", own, bars.threshold, bars.margin))
    if model is not None and settings.model is not None:
        steps.append(RouterStep("model", model, settings.model.threshold))
    return tuple(steps)


async def decide(
    request: RouteRequest, known: Known, routers: Sequence[RouterStep] = ()
) -> RouteDecision:
    """What is done with an activity; `routers` are asked where rules and examples are not sure."""
    visible = _visible(request, known)
    early = settled(request, known, visible)
    if early is not None:
        return early
    found = ranked(request, known, visible)
    if request.active:
        return interrupting(request, known, found)
    for step in routers:
        if found.kind is RouteKind.SKILL:
            break
        found = await _asked(step, request, known, visible, found)
    return _last(found, known, visible)


def _visible(request: RouteRequest, known: Known) -> Visible:
    granted = visible_to(request.asker, known.skills)
    if not request.tried:
        return granted
    return lambda name: name not in request.tried and granted(name)


async def _asked(
    step: RouterStep, request: RouteRequest, known: Known, visible: Visible, so_far: RouteDecision
) -> RouteDecision:
    """The decision with what a router has to say; the one so far if that is nothing."""
    if so_far.kind is RouteKind.AMBIGUOUS:
        skills = [known.skills[found.skill] for found in so_far.candidates]
    else:
        skills = [skill for name, skill in known.skills.items() if visible(name)]
    try:
        answer = await step.router(request, skills)
    except Exception as exc:
        log.error("the router %s failed: %s", step.name, type(exc).__name__)
        answer = None
    names = {skill.name for skill in skills}
    candidates = [found for found in answer or () if found.skill in names]
    trace = (*so_far.trace, f"{step.name}: {'no answer' if answer is None else len(candidates)}")
    ranking = sorted(candidates, key=lambda found: -found.score)
    decision = judged(ranking, threshold=step.threshold, margin=step.margin)
    if decision.kind is RouteKind.UNKNOWN:
        return replace(so_far, trace=trace)
    return replace(decision, router=step.name, trace=trace)


def _last(found: RouteDecision, known: Known, visible: Visible) -> RouteDecision:
    """What is done with a choice, and with what nobody claims."""
    if found.kind is RouteKind.AMBIGUOUS:
        if all(known.skills[candidate.skill].fan_out for candidate in found.candidates):
            return replace(found, kind=RouteKind.FAN_OUT)
        return found
    if found.kind is RouteKind.UNKNOWN and known.fallback and visible(known.fallback):
        return replace(
            found, kind=RouteKind.SKILL, skill=known.fallback, router="fallback", policy="fallback"
        )
    return found
