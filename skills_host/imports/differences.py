"""What is different for a bot that comes from an SDK: the one table of codes, and one finding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

__all__ = ["DIFFERENCES", "Difference", "Kind"]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a code means, and what is to be done; `lost` where something was left out."""

    meaning: str
    fix: str
    lost: bool = False


DIFFERENCES: Mapping[str, Kind] = MappingProxyType(
    {
        "anonymous-auth": Kind(
            "the bot has no app id or no password: the SDK lets anybody in, this host nobody",
            "set the variables; on a laptop, a lab gives real tokens (skills-host lab)",
        ),
        "app-id-missing": Kind(
            "the app id is empty or a placeholder, and is taken from the environment",
            "set the variable to the app id",
        ),
        "secret-in-file": Kind(
            "a secret stood in the file; the configuration names a variable in its place",
            "set the variable; give the secret a new value, for files are copied",
        ),
        "secret-in-endpoint": Kind(
            "the endpoint has a query, which may be a key; it is taken from the environment",
            "set the variable to the whole address",
        ),
        "credential": Kind(
            "what the bot proves itself with cannot be taken over as it is written",
            "see the message, and docs/identity.md",
            lost=True,
        ),
        "certificate-store": Kind(
            "the certificate was found by its thumbprint; its private key is taken from the "
            "environment",
            "set the variable to the key in PEM, or to the path of its file",
        ),
        "cloud": Kind("ChannelService is a preset of clouds here", "nothing to do"),
        "channel-service-unknown": Kind(
            "no cloud has this ChannelService; the public one is taken",
            "give the addresses in [cloud]",
            lost=True,
        ),
        "wildcard-callers": Kind(
            "every bot could call this one as a skill; here nobody may until they are named",
            "list the parents' app ids in allowed_callers",
        ),
        "caller-refused": Kind(
            "an allowed caller is not an app id", "list the parent's app id", lost=True
        ),
        "allowed-skills": Kind(
            "callbacks are taken from exactly the skills of [skills]; there is no second list",
            "nothing to do",
        ),
        "http-endpoint": Kind(
            "http is for loopback addresses only, https for all others",
            "give the endpoint's https address",
        ),
        "endpoint-refused": Kind(
            "the endpoint is not an address that this host calls; the skill is left out",
            "write the skill with its https address",
            lost=True,
        ),
        "own-app-id": Kind(
            "the skill has the app id of the bot itself and is left out",
            "register an app of its own for it",
            lost=True,
        ),
        "name-changed": Kind(
            "names are a-z, 0-9, - and _; the old one is the title", "use the new name in code"
        ),
        "duplicate-skill": Kind(
            "two skills have this name; the SDK keeps one of them, here both are kept",
            "remove the one that is not meant",
        ),
        "skill-host-path": Kind(
            "skills call back at /api/skills of the public address; they are told so each time",
            "let a gateway before the host pass that path",
        ),
        "public-url-refused": Kind(
            "the skill host's address is neither https nor loopback and is left out",
            "set host.public_url",
            lost=True,
        ),
        "conversation-ids": Kind(
            "an SDK makes a conversation id for each dialog or message; here a skill keeps one "
            "until it ends",
            "nothing to do, unless the skill counts on a new one",
        ),
        "routing": Kind(
            "which skill a message is for was code of the bot; here it is phrases and routers",
            "give each skill phrases or examples, or write a Root",
        ),
        "deadlines": Kind(
            "calls to a skill end after 60 s, a skill that stays silent after 30 minutes",
            "see host.limits and skills.NAME.seconds",
        ),
        "operations": Kind(
            "a skill may update and delete only what it sent, and not remove members",
            "see skills.NAME.operations",
        ),
        "state": Kind(
            "conversations and state that are in the SDK's storage are not moved",
            "let what is open come to its end before users are sent here",
        ),
        "sign-in": Kind(
            "the bot has an OAuth connection, which stays in its code and at the token service",
            "see docs/protocol.md",
        ),
        "not-taken-over": Kind(
            "settings that have no place here", "see whether something is missed", lost=False
        ),
        "not-read": Kind(
            "the value is an expression, and no code is run; it is taken from the environment",
            "set the variable",
        ),
        "manifest": Kind("the skill is described by its manifest", "nothing to do"),
        "manifest-endpoint": Kind(
            "the bot calls another endpoint than the manifest's first; that one is written",
            "nothing to do",
        ),
        "manifest-refused": Kind(
            "the manifest cannot be used; the skill is written without it",
            "see skills-host manifest lint",
        ),
        "manifest-unused": Kind(
            "no skill of the bot has the manifest's endpoint; it is left out",
            "add it to [skills] if it is meant",
            lost=True,
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference at `where`, a setting of the new configuration; `seen` never has a secret."""

    code: str
    where: str
    seen: str = ""

    @property
    def kind(self) -> Kind:
        """What its code means."""
        return DIFFERENCES[self.code]

    def to_json(self) -> dict[str, Any]:
        """Everything that is known about it."""
        return asdict(self) | asdict(self.kind)
