"""Who may do what in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from skills_host.consumer.registry.records import Actor, Role
from skills_host.errors import RegistryRefused

__all__ = ["ROLES", "check_role"]

_ALL = frozenset(Role)
_OPERATOR = frozenset({Role.OPERATOR})

ROLES: Mapping[str, frozenset[Role]] = MappingProxyType(
    {
        "add": frozenset({Role.AUTHOR, Role.OPERATOR}),
        "revise": frozenset({Role.AUTHOR, Role.OPERATOR}),
        "submit": frozenset({Role.AUTHOR, Role.OPERATOR}),
        "refresh": frozenset({Role.AUTHOR, Role.OPERATOR}),
        "approve": frozenset({Role.APPROVER}),
        "reject": frozenset({Role.APPROVER}),
        "rollback": frozenset({Role.APPROVER, Role.OPERATOR}),
        "revoke": frozenset({Role.APPROVER, Role.OPERATOR}),
        "quarantine": frozenset({Role.APPROVER, Role.OPERATOR}),
        "release": _OPERATOR,
        "enable": _OPERATOR,
        "disable": _OPERATOR,
        "drain": _OPERATOR,
        "retire": _OPERATOR,
        "remove": _OPERATOR,
        "grant": _OPERATOR,
        "ungrant": _OPERATOR,
        "ping": _OPERATOR,
        "read": _ALL,
        "audit": frozenset({Role.AUDITOR, Role.OPERATOR, Role.APPROVER}),
    }
)
"""The roles of which one is needed for each verb."""


def check_role(actor: Actor, verb: str) -> None:
    """Raise `RegistryRefused` (`role-refused`) unless the actor has a role that the verb needs."""
    needed = ROLES[verb]
    if not needed & actor.roles:
        names = " or ".join(sorted(needed))
        raise RegistryRefused(f"{verb} needs the role {names}", code="role-refused")
