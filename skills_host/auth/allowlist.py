"""Who may call: one immutable snapshot of the lists, and the verdicts over it.

Callers and skills are lists of different directions and are never mixed: an allowed skill is not
an allowed caller. Whoever is on no list is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from skills_host.auth.claims import Identity
from skills_host.auth.denials import Denied
from skills_host.settings import canonical_app_id

__all__ = [
    "ANYBODY",
    "AllowedSkill",
    "Snapshot",
    "SnapshotSource",
    "check_caller",
    "check_owner",
    "check_skill",
]

ANYBODY = "*"


@dataclass(frozen=True, slots=True)
class AllowedSkill:
    """A skill that the host's roots may call and that may call them back.

    `tenants` (UUIDs) are the only ones that its tokens may come from; none listed: the host's own.
    """

    name: str
    app_id: str
    endpoint: str
    tenants: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "app_id", canonical_app_id(self.app_id))
        object.__setattr__(self, "tenants", frozenset(map(canonical_app_id, self.tenants)))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The lists as they are at one moment; a later moment has another `epoch`.

    `skills` is by name; `callers` gives for each app id of ours the app ids that may call it, or a
    set with `"*"`. `barred` gives for the app ids of skills that may not be used now the code with
    which they are refused. `tenants` are all those that skills are listed with. Raises `ValueError`
    for an app id or tenant that is no UUID.
    """

    epoch: int
    skills: Mapping[str, AllowedSkill] = field(default_factory=dict)
    callers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    barred: Mapping[str, str] = field(default_factory=dict)
    tenants: frozenset[str] = field(init=False, repr=False, compare=False)
    _by_app_id: Mapping[str, AllowedSkill] = field(init=False, repr=False, compare=False)
    _sharing: Mapping[str, tuple[AllowedSkill, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        skills = dict(self.skills)
        # Nothing is made for a skill that has its app id alone: where there are thousands, that
        # much garbage at once would hold up everything else.
        alone: dict[str, AllowedSkill] = {}
        sharing: dict[str, tuple[AllowedSkill, ...]] = {}
        for skill in skills.values():
            first = alone.setdefault(skill.app_id, skill)
            if first is not skill:
                sharing[skill.app_id] = (*sharing.get(skill.app_id, (first,)), skill)
        callers = {canonical_app_id(ours): _callers(peers) for ours, peers in self.callers.items()}
        tenants = frozenset(tenant for skill in skills.values() for tenant in skill.tenants)
        object.__setattr__(self, "skills", MappingProxyType(skills))
        object.__setattr__(self, "callers", MappingProxyType(callers))
        object.__setattr__(self, "tenants", tenants)
        object.__setattr__(self, "_by_app_id", alone)
        object.__setattr__(self, "_sharing", sharing)

    def skills_of(self, app_id: str) -> tuple[AllowedSkill, ...]:
        """The skills that have this app id; one bot may offer several."""
        if app_id in self._sharing:
            return self._sharing[app_id]
        found = self._by_app_id.get(app_id)
        return () if found is None else (found,)

    def callers_of(self, bot_app_id: str) -> frozenset[str]:
        """The app ids that may call our bot, or a set with `"*"`."""
        return self.callers.get(bot_app_id, frozenset())


SnapshotSource = Callable[[], Snapshot]
"""Gives the lists as they are now; it is called for every request and must be cheap."""


def check_caller(snapshot: Snapshot, identity: Identity) -> None:
    """Raise `Denied("caller-not-allowed")` unless the peer may call the bot as a parent."""
    callers = snapshot.callers_of(identity.bot_app_id)
    known = identity.app_id in callers or ANYBODY in callers
    if identity.kind != "skill" or not identity.app_id or not known:
        raise Denied("caller-not-allowed", expected="an allowed caller", seen=identity.app_id)


def check_skill(snapshot: Snapshot, identity: Identity) -> tuple[AllowedSkill, ...]:
    """The skills that the peer is; `Denied` if it is none of them, or may not be used now."""
    found = tuple(
        skill
        for skill in snapshot.skills_of(identity.app_id)
        if not skill.tenants or identity.tenant in skill.tenants
    )
    if identity.kind != "skill" or not found:
        code = snapshot.barred.get(identity.app_id, "skill-not-allowed")
        raise Denied(code, expected="a registered skill", seen=identity.app_id)
    return found


def check_owner(*, owner_app_id: str, identity: Identity) -> None:
    """Raise `Denied("not-conversation-owner")` unless the conversation was made for this skill."""
    if identity.kind != "skill" or not identity.app_id or identity.app_id != owner_app_id.lower():
        raise Denied("not-conversation-owner", expected=owner_app_id, seen=identity.app_id)


def _callers(peers: frozenset[str]) -> frozenset[str]:
    # A bare string would be taken for a set of its characters.
    if isinstance(peers, str):
        raise ValueError("expected a set of app ids")
    return frozenset(ANYBODY if peer == ANYBODY else canonical_app_id(peer) for peer in peers)
