"""Why a caller is refused: the one table of codes and the error that carries one of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from skills_host.errors import Code, SkillsHostError

__all__ = ["DECIDED_BY", "DENIALS", "UNSIGNED", "Denied"]

DENIALS: Mapping[str, Code] = MappingProxyType(
    {
        "no-header": Code(
            401, "the request has no Authorization header", "send Authorization: Bearer TOKEN"
        ),
        "bad-scheme": Code(
            401,
            "the Authorization header is not a bearer token",
            "send the word Bearer, one space and the token",
        ),
        "token-too-long": Code(
            401,
            "the Authorization header is longer than 16 KB",
            "leave optional claims such as groups out of the token",
        ),
        "malformed-token": Code(
            401,
            "the bearer token is not a signed JSON web token",
            "send the token as it was issued",
        ),
        "metrics-token": Code(
            401, "the bearer is not the one that may read the metrics", "send metrics.token"
        ),
        "algorithm": Code(
            401, "the token is not signed with RS256", "use a token that the authority signed"
        ),
        "critical-header": Code(
            401,
            "the token's header demands an extension that this host does not know",
            "use a token without a crit header",
        ),
        "unknown-key": Code(
            401,
            "the token's signing key is not among the authority's published keys",
            "check that caller and host use the same cloud",
        ),
        "signature": Code(
            401, "the token's signature does not match", "send the token as it was issued"
        ),
        "expired": Code(
            401, "the token has expired", "get a fresh token; check the clocks of both machines"
        ),
        "not-yet-valid": Code(
            401, "the token is not valid yet", "check the clocks of both machines"
        ),
        "issuer": Code(
            401,
            "the token comes from an issuer that this host does not accept",
            "name the caller's tenant in the bot's or the skill's settings",
        ),
        "tenant-binding": Code(
            401,
            "the token's tenant is not the tenant of its issuer",
            "use a token that its own tenant issued",
        ),
        "audience": Code(
            401,
            "the token is meant for somebody else",
            "request the token for the app id of the bot that is addressed",
        ),
        "several-audiences": Code(
            401,
            "the token is meant for more than one at once",
            "request a token for the app id of the bot that is addressed, and for nobody else",
        ),
        "version": Code(
            401,
            "the token's version is missing or unknown",
            "use an access token of version 1.0 or 2.0",
        ),
        "anonymous-off": Code(
            401,
            "the token stands for no authentication, which this host does not have",
            "give the caller an app id and a credential",
        ),
        "emulator-off": Code(
            401,
            "the token was issued to the bot itself, as an emulator's is",
            "set the bot's allow_emulator, on a machine for development",
        ),
        "no-app-id": Code(
            401,
            "the token does not say which application it was issued to",
            "use a token with appid (version 1.0) or azp (version 2.0)",
        ),
        "bad-claim": Code(
            401,
            "a claim of the token is missing or has the wrong type",
            "use a token that the authority made",
        ),
        "not-a-skill": Code(
            401,
            "the token is not one with which a skill calls another bot",
            "get a token with the caller's own credential and the called bot's app id as its scope",
        ),
        "user-token": Code(
            401,
            "the token acts for a user; only an application's own token is accepted",
            "use the client credentials grant",
        ),
        "service-url": Code(
            401,
            "the activity's serviceUrl is not the one that the token vouches for",
            "send the activity with the serviceUrl of the token",
        ),
        "endorsement": Code(
            403,
            "the token's signing key is not endorsed for the activity's channel",
            "send the activity with the channelId that the key is endorsed for",
        ),
        "caller-not-allowed": Code(
            403,
            "this application is not among the bot's allowed callers",
            "add the caller's app id to the bot's allowed_callers",
        ),
        "skill-not-allowed": Code(
            403,
            "this application is not among the host's skills",
            "register the skill, and its tenant if the skill's tenants are listed",
        ),
        "skill-revoked": Code(
            403,
            "the skill was revoked; its conversations are ended",
            "ask the host's operators; a new revision of the skill can be approved",
        ),
        "skill-suspended": Code(
            403,
            "the skill is disabled, in quarantine or retired; its conversations are ended",
            "ask the host's operators",
        ),
        "skill-draining": Code(
            403,
            "the skill goes on with the conversations that it has, and begins none",
            "wait until the skill is enabled again",
        ),
        "activity-not-declared": Code(
            403,
            "the skill's manifest does not declare that it sends this activity",
            "declare it in activitiesSent, or register the skill as lenient",
        ),
        "not-activity-owner": Code(
            403,
            "the activity was not sent by this skill in this conversation",
            "update and delete only what you sent, by the id that you were given",
        ),
        "operation-refused": Code(
            403,
            "the settings refuse this operation to the skill",
            "set skills.NAME.operations for it",
        ),
        "other-tenant": Code(
            403,
            "the new conversation would be in another tenant or channel than the skill's own",
            "create conversations only where the skill already has one",
        ),
        "not-conversation-owner": Code(
            403,
            "the conversation belongs to another skill",
            "use the conversation id of the activity that the skill was sent",
        ),
        "forwarded-in-lab": Code(
            403,
            "a host that trusts a lab authority takes no forwarded requests",
            "call the host directly on its loopback address",
        ),
        "admin-token": Code(
            401,
            "the admin token is not one of this host's",
            "make one with skills-host admin token add",
        ),
        "admin-token-expired": Code(
            401, "the admin token has expired", "make one with skills-host admin token add"
        ),
        "admin-token-revoked": Code(
            401, "the admin token was revoked", "make one with skills-host admin token add"
        ),
        "admin-role": Code(
            403,
            "the caller has none of the roles that this needs",
            "ask somebody who has it, or have the role added",
        ),
        "admin-throttled": Code(
            429,
            "too many bad admin tokens came from this address",
            "wait a minute; tokens that were good a while ago still are",
        ),
        "keys-unavailable": Code(
            503,
            "the authority's signing keys cannot be had at the moment",
            "try again soon; check that the host reaches the authority",
        ),
    }
)

DECIDED_BY: Mapping[str, str] = MappingProxyType(
    {
        "unknown-key": "cloud.entra_metadata, cloud.channel_metadata",
        "keys-unavailable": "cloud.entra_metadata, cloud.channel_metadata",
        "metrics-token": "metrics.token",
        "issuer": "bots.NAME.tenant, skills.NAME.tenants, cloud.issuers, cloud.shared_tenants",
        "tenant-binding": "cloud.issuers",
        "audience": "bots.NAME.app_id",
        "several-audiences": "bots.NAME.app_id",
        "caller-not-allowed": "bots.NAME.allowed_callers",
        "skill-not-allowed": "skills.NAME",
        "operation-refused": "skills.NAME.operations",
        "activity-not-declared": "skills.NAME.sends, skills.NAME.lenient",
        "not-a-skill": "skills.NAME",
        "emulator-off": "bots.NAME.allow_emulator",
        "expired": "the clock of this machine",
        "not-yet-valid": "the clock of this machine",
        "forwarded-in-lab": "cloud.lab",
        "admin-token": "skills-host admin token, admin.entra",
        "admin-token-expired": "skills-host admin token",
        "admin-token-revoked": "skills-host admin token",
        "admin-role": "skills-host admin token, the app roles in Entra",
    }
)
"""The settings that decide a code, where there are any: the others are rules for everybody."""

UNSIGNED = frozenset(
    {
        "no-header",
        "bad-scheme",
        "token-too-long",
        "malformed-token",
        "metrics-token",
        "algorithm",
        "critical-header",
        "unknown-key",
        "signature",
        "not-a-skill",
        "forwarded-in-lab",
        "admin-token",
        "admin-throttled",
        "keys-unavailable",
    }
)
"""The codes of those who may be anybody: refused before their token's signature was checked."""


class Denied(SkillsHostError):
    """A caller was refused; its message is the table's meaning and never holds a claim.

    `expected` and `seen` are for the operator's own log; neither `str` nor `repr` shows them.
    """

    code = "malformed-token"

    def __init__(self, code: str, *, expected: str = "", seen: str = "") -> None:
        if code not in DENIALS:
            raise ValueError(f"not a denial: {code}")
        super().__init__(DENIALS[code].meaning, code=code)
        self.expected = expected
        self.seen = seen

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code!r})"

    @property
    def status(self) -> int:
        """The HTTP status of the refusal."""
        return DENIALS[self.code].status

    @property
    def meaning(self) -> str:
        """The table's sentence for the code."""
        return DENIALS[self.code].meaning

    @property
    def fix(self) -> str:
        """What the caller's operator can do about it."""
        return DENIALS[self.code].fix
