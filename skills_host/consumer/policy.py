"""What a skill may ask of its skill host: defaults, and what the skill's settings say. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from skills_host.activity import Activity
from skills_host.auth.denials import Denied
from skills_host.consumer.registry.compile import Skill
from skills_host.errors import NotOffered
from skills_host.settings import Operation, Policy

__all__ = [
    "DEFAULTS",
    "check_declared",
    "check_policy",
    "is_declared",
    "is_for_bot",
    "is_listed",
    "policy_of",
]

# What belongs to every conversation with a skill, whatever it declares.
_ALWAYS = frozenset({"message", "typing", "trace", "endOfConversation", "invokeResponse"})

_OWN_CONVERSATION = (
    Operation.SEND,
    Operation.UPDATE,
    Operation.DELETE,
    Operation.MEMBERS,
    Operation.MEMBER,
    Operation.PAGED_MEMBERS,
    Operation.ACTIVITY_MEMBERS,
)

DEFAULTS: Mapping[Operation, Policy] = MappingProxyType(
    {
        operation: Policy.ALLOWED if operation in _OWN_CONVERSATION else Policy.NOT_OFFERED
        for operation in Operation
    }
)


def policy_of(skill: Skill, operation: Operation) -> Policy:
    """What the skill's settings say of the operation, else the default."""
    return skill.operations.get(operation, DEFAULTS[operation])


def is_listed(skill: Skill) -> bool:
    """True if the skill may ask for its conversations, or for new ones beside them."""
    asking = (Operation.CREATE, Operation.LIST)
    return any(policy_of(skill, operation) is Policy.ALLOWED for operation in asking)


def check_policy(skill: Skill, operation: Operation) -> None:
    """Raise `Denied` (`operation-refused`) or `NotOffered` unless the skill may."""
    policy = policy_of(skill, operation)
    if policy is Policy.REFUSED:
        raise Denied("operation-refused")
    if policy is Policy.NOT_OFFERED:
        raise NotOffered(f"{operation} is not offered to this skill")


def is_declared(declared: tuple[str, ...] | None, activity: Activity) -> bool:
    """True if an activity is among those declared, by its type or as `TYPE/NAME`; None: any is."""
    if declared is None or activity.type in _ALWAYS:
        return True
    return activity.type in declared or f"{activity.type}/{activity.name or ''}" in declared


def check_declared(skill: Skill, activity: Activity) -> None:
    """Raise `Denied` (`activity-not-declared`) unless the skill may send the activity."""
    if not is_declared(skill.sends, activity):
        named = f"{activity.type}/{activity.name or ''}"[:100]
        raise Denied("activity-not-declared", expected=", ".join(skill.sends or ()), seen=named)


def is_for_bot(activity: Activity) -> bool:
    """True for what a skill says to the root's bot and not to the user. Pure."""
    if activity.type in ("command", "commandResult"):
        return not (activity.name or "").startswith("application/")
    return activity.type == "event"
