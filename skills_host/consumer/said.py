"""What a skill says, and whom it is for."""

from __future__ import annotations

from dataclasses import dataclass

from skills_host.activity import Activity
from skills_host.bot.channel import InvokeResponse
from skills_host.bot.effects import Call, mark_of
from skills_host.bot.turn import Turn
from skills_host.consumer.client import SkillAnswer
from skills_host.consumer.conversation import SkillConversation
from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.values import checked_response
from skills_host.settings import Delivery, Retry

__all__ = [
    "END_CODES",
    "REPROMPT",
    "Heard",
    "answered_before",
    "call_of",
    "is_answer",
    "is_decline",
    "may_repeat",
    "mode_of",
    "pass_on",
    "response_of",
]

REPROMPT = "repromptDialog"
END_CODES = {
    "deadline": "botTimedOut",
    "interrupted": "interrupted",
    "call-loop": "callLoop",
    "too-many-hops": "tooManyHops",
}


def is_answer(turn: Turn, activity: Activity, *, routed: bool) -> bool:
    """True if the response to what a skill is posted is the response to the turn's own invoke.

    What is `routed` may be a copy of it that tells the skill something more.
    """
    return activity.type == "invoke" and (routed or activity is turn.activity)


def is_decline(end: Activity) -> bool:
    """True for an end by which a skill says that the last message is for another one. Pure."""
    value = end.value
    return isinstance(value, dict) and value.get("reroute") is True


def may_repeat(skill: Skill, activity: Activity) -> bool:
    """True if a skill may get this twice: it takes it once, or only asks once more. Pure."""
    return skill.retry is Retry.SAFE or (activity.type, activity.name) == ("event", REPROMPT)


def mode_of(skill: Skill, chosen: Delivery | None, activity: Activity) -> Delivery:
    """How the answers to this activity come back; only in an answer can an invoke's be seen."""
    mode = chosen or skill.delivery
    return skill.invoke_delivery if mode is Delivery.NORMAL and activity.type == "invoke" else mode


@dataclass(slots=True)
class Heard:
    """What came back while a skill was posted to; the end is acted upon when all is said.

    `answers_turn` if the response to what was posted is the response to the turn's own invoke.
    """

    answers_turn: bool
    end: Activity | None = None
    response: InvokeResponse | None = None


def response_of(
    turn: Turn, skill: Skill, activity: Activity, answer: SkillAnswer, heard: Heard
) -> InvokeResponse:
    """The response to an invoke that was posted; that of the turn's own becomes the turn's."""
    given = turn.invoke_response if heard.answers_turn else heard.response
    given = given or InvokeResponse(answer.status, answer.body)
    response = checked_response(skill, activity, given)
    if heard.answers_turn:
        turn.invoke_response = response
    return response


def answered_before(turn: Turn, call: Call) -> InvokeResponse | None:
    """The response to an invoke that an earlier run of the turn has posted; the turn's own, too."""
    if call.response is None:
        return None
    response = InvokeResponse(*call.response)
    if call.routed and turn.activity.type == "invoke" and turn.invoke_response is None:
        turn.invoke_response = response
    return response


async def pass_on(turn: Turn) -> None:
    """Tell the caller of a root that is itself a skill about an end that nobody handled."""
    end = turn.activity
    await turn.end(end.value, code=end.code or "completedSuccessfully", text=end.text)


def call_of(
    turn: Turn, conversation: SkillConversation, activity: Activity, *, now: float, routed: bool
) -> Call:
    """The next effect of a turn: an activity is posted in this conversation."""
    return Call(
        turn.effects.next(),
        conversation.skill,
        conversation.handle,
        mark_of(activity),
        since=now,
        routed=routed,
        answered=turn.answered,
    )
