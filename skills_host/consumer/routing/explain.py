"""What would be done with words, if somebody said them: decided as in a turn, without one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from skills_host.consumer.routing.chain import RouterStep, decide
from skills_host.consumer.routing.decision import RouteDecision, RouteKind
from skills_host.consumer.routing.grants import Asker
from skills_host.consumer.routing.reserved import ReservedKind, ReservedWords
from skills_host.consumer.routing.route import Known, RouteRequest
from skills_host.consumer.session import IDLE, ActiveSkill, Session
from skills_host.errors import BadInput

__all__ = ["Question", "explained"]

_WAYS_OUT = (ReservedKind.CANCEL, ReservedKind.START_OVER)


@dataclass(frozen=True, slots=True)
class Question:
    """Words, who says them, and the skill that has the floor; empty if none has."""

    text: str
    asker: Asker = Asker()
    locale: str = ""
    active: str = ""


async def explained(
    question: Question, known: Known, words: ReservedWords, routers: Sequence[RouterStep] = ()
) -> RouteDecision:
    """The decision; words that cancel are told as the root's, by the policy `way out`.

    Handlers of the root's own code are not asked. Raises `BadInput` (`bad-body`) for an active
    skill that there is not.
    """
    if question.active and question.active not in known.skills:
        raise BadInput(f"active: no skill {question.active[:64]!r} may be used", code="bad-body")
    heard = words.heard(question.text, question.locale)
    if heard is not None and heard.kind in _WAYS_OUT:
        return RouteDecision(RouteKind.ROOT, policy="way out")
    active = ActiveSkill(question.active, "", 0.0) if question.active else None
    request = RouteRequest(
        question.text,
        locale=question.locale,
        asker=question.asker,
        reserved=heard,
        session=IDLE if active is None else Session(active),
    )
    return await decide(request, known, routers)
