"""Values that go to a skill and come from it, held against what its manifest declares."""

from __future__ import annotations

import logging

from skills_host.activity import Activity
from skills_host.bot.channel import InvokeResponse
from skills_host.bot.turn import Turn
from skills_host.consumer.policy import is_declared
from skills_host.consumer.registry.compile import Skill
from skills_host.errors import BadInput, error_body
from skills_host.routing_settings import Checks
from skills_host.wire import encode

__all__ = ["admitted", "checked", "checked_response", "is_refused"]

log = logging.getLogger(__name__)

_CODE = "value-refused"
# What a caller knows an end by that says something it must not.
_BAD_END = "botIssuedInvalidMessage"


def is_refused(skill: Skill, activity: Activity, *, turn: Turn, answers: bool) -> bool:
    """Hold what is about to be sent to a skill against what it takes.

    Where that is enforced, true for what `answers` the turn's own invoke, which is answered so;
    `BadInput` (`value-refused`) for anything else. Nothing of the value is told.
    """
    if skill.contract is None:
        return False
    given = skill.contract.taken(activity.type, activity.name or "", activity.raw("value"))
    try:
        _judge(skill, given, "what is sent to it")
    except BadInput as exc:
        if not answers:
            raise
        turn.respond(exc.status, error_body(exc))
        return True
    return False


def checked(skill: Skill | None, activity: Activity) -> Activity:
    """What a skill sends, held against what it declares.

    Where that is enforced, `BadInput` (`value-refused`) for a value that does not fit; but an end
    ends nevertheless: it loses its value and says that the skill spoke out of turn.
    """
    if skill is None or skill.contract is None:
        return activity
    value = activity.raw("value")
    if activity.type != "endOfConversation":
        sent = skill.contract.sent(activity.type, activity.name or "", value)
        _judge(skill, sent, "what it sends")
        return activity
    try:
        _judge(skill, skill.contract.end(value), "its result")
    except BadInput:
        return activity.with_(code=_BAD_END, value=None)
    return activity


def admitted(skill: Skill | None, reply: Activity) -> Activity | None:
    """The same of what came in an answer; None for what is refused, which nobody gets to see."""
    if skill is not None and not is_declared(skill.sends, reply):
        log.warning("skill %s does not declare that it sends %s", skill.name, reply.type)
        return None
    try:
        return checked(skill, reply)
    except BadInput:
        return None


def checked_response(skill: Skill, invoke: Activity, response: InvokeResponse) -> InvokeResponse:
    """A skill's response to an invoke; where that is enforced, 502 for one that does not fit."""
    if skill.contract is None or not 200 <= response.status < 300:
        return response
    body = None if response.body is None else encode(response.body)
    try:
        _judge(skill, skill.contract.result("invoke", invoke.name or "", body), "its response")
    except BadInput as exc:
        return InvokeResponse(502, error_body(exc))
    return response


def _judge(skill: Skill, complaint: str | None, what: str) -> None:
    if complaint is None:
        return
    log.warning("skill %s: %s does not fit its manifest: %s", skill.name, what, complaint)
    if skill.schemas is Checks.ENFORCE:
        raise BadInput(f"skill {skill.name}: {what} does not fit its manifest", code=_CODE)
