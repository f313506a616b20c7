"""What a skill may ask of its skill host: defaults, and what the skill's settings say. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from skills_host.auth.denials import Denied
from skills_host.consumer.registry.compile import Skill
from skills_host.errors import NotOffered
from skills_host.settings import Operation, Policy

__all__ = ["DEFAULTS", "check_policy", "is_listed", "policy_of"]

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
