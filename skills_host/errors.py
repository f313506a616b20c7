"""The error tree: every error has a stable code, and every code has one HTTP status.

Refused callers (`Denied`) have a table of their own in `skills_host.auth.denials`; everything else
that can go wrong is in `CODES` below. `skills_host.error_page` makes a page of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = [
    "CODES",
    "BadInput",
    "ChannelFailed",
    "Code",
    "NotOffered",
    "NotRegistered",
    "RegistryRefused",
    "SettingsError",
    "SkillFailed",
    "SkillsHostError",
    "StateConflict",
    "StoreFailed",
    "TokenUnavailable",
    "TooBusy",
    "TransportFailed",
    "UnknownConversation",
    "VersionConflict",
    "error_body",
]


@dataclass(frozen=True, slots=True)
class Code:
    """What a code means, which HTTP status carries it, and what to do about it."""

    status: int
    meaning: str
    fix: str


CODES: Mapping[str, Code] = MappingProxyType(
    {
        "internal": Code(500, "the host failed in a way it did not foresee", "read the host's log"),
        "not-found": Code(404, "no such address on this host", "check the path and the base URL"),
        "method": Code(405, "the route exists, but not with this method", "see the Allow header"),
        "content-type": Code(
            415, "the body is not announced as JSON", "send Content-Type: application/json"
        ),
        "too-large": Code(
            413, "the body is larger than the host accepts", "raise host.limits.body_bytes"
        ),
        "slow-body": Code(
            408, "the body did not arrive in time", "send faster, or raise host.limits.body_seconds"
        ),
        "bad-json": Code(400, "the body is not well-formed JSON in UTF-8", "send strict JSON"),
        "bad-activity": Code(
            400, "a member of the activity has the wrong type", "see the message for the member"
        ),
        "too-deep": Code(400, "the JSON is nested too deeply", "nest at most 64 levels"),
        "duplicate-member": Code(400, "a top-level member appears twice", "send each member once"),
        "missing-member": Code(
            400, "the activity lacks a required member", "see the message for the member"
        ),
        "bad-id": Code(400, "an identifier is empty or absurdly long", "ids: 1-1500 characters"),
        "value-refused": Code(400, "the value does not fit the skill's manifest", "mend the value"),
        "bad-query": Code(
            400, "a parameter of the query has the wrong form", "see the message for the parameter"
        ),
        "unknown-conversation": Code(
            404, "no conversation has this id here", "use the conversation id you were given"
        ),
        "conversation-ended": Code(
            404, "the conversation was ended; an end is final", "wait for a new conversation"
        ),
        "not-offered": Code(501, "this host does not offer the operation", "do without it"),
        "state-conflict": Code(
            409, "two turns changed the same property at once", "run the turn again"
        ),
        "version-conflict": Code(
            409, "a stored record was changed meanwhile", "read it and try again"
        ),
        "store-failed": Code(503, "the store cannot be read or written", "see /readyz and the log"),
        "unreachable": Code(
            502, "a peer could not be reached", "check its address and that it runs"
        ),
        "deadline": Code(504, "a peer did not answer in time", "raise the limit or mend the peer"),
        "host-not-allowed": Code(
            502, "the address is not one this host may call", "use https, or loopback in the lab"
        ),
        "answer-too-large": Code(
            502, "a peer's answer is larger than the host accepts", "send less"
        ),
        "address-not-public": Code(502, "the address is not public, or not https", "publish it so"),
        "redirected": Code(
            502, "the peer sends on to another origin, or on and on", "name the last"
        ),
        "bad-status": Code(502, "the peer did not answer with 200", "see the address in a browser"),
        "bad-media-type": Code(
            502, "the answer is not of the kind expected", "serve it as its kind"
        ),
        "token-unavailable": Code(
            502, "the authority gave no token for the peer", "check the credential and the tenant"
        ),
        "channel-failed": Code(502, "the channel did not take the activity", "see the channel"),
        "channel-refused": Code(
            403, "the channel refused the activity for good", "the bot may have been removed"
        ),
        "skill-failed": Code(502, "the skill answered with a failure", "see the skill's own log"),
        "skill-left-alone": Code(
            502, "the skill has failed all the time and is left alone a while", "mend the skill"
        ),
        "skill-cancelled": Code(502, "the call to the skill was cancelled", "nothing to do"),
        "call-loop": Code(
            508, "bots call each other in a circle", "let one of them answer the user itself"
        ),
        "too-many-hops": Code(
            508, "too many bots have passed an activity on", "raise host.limits.hops"
        ),
        "settings": Code(500, "a setting is missing, malformed or contradictory", "mend it"),
        "lab-in-public": Code(
            500,
            "a lab authority is trusted by a host that is not loopback-only",
            "bind, public_url and every skill endpoint must be loopback, or use real metadata",
        ),
        "too-busy": Code(
            429, "too many turns wait already", "send again after the seconds of Retry-After"
        ),
        "rate-limited": Code(
            429,
            "more turns came than bots.NAME.rate lets",
            "send again after the seconds of Retry-After",
        ),
        "interrupted": Code(
            500, "the host died while it did this, and must not do it twice", "ask again"
        ),
        "not-registered": Code(
            404, "the registry has no such skill or revision", "see what is registered"
        ),
        "already-registered": Code(
            409, "the registry has a skill of this name already", "choose another name"
        ),
        "wrong-state": Code(
            409,
            "the skill or its revision is in a state in which this cannot be done",
            "look at the skill first",
        ),
        "four-eyes": Code(
            403, "who submitted a revision may not approve it", "let somebody else approve it"
        ),
        "role-refused": Code(
            403, "the actor does not have the role that this needs", "ask somebody who has it"
        ),
        "waiver-needed": Code(
            409,
            "the approval needs a waiver, which is recorded with it",
            "look at what the message names; approve with that waiver if it is meant",
        ),
        "manifest-invalid": Code(
            422, "the manifest has errors and is not taken in", "see the findings and mend them"
        ),
        "manifest-conflict": Code(
            409,
            "the manifest's $id belongs to a skill of another publisher, or to another skill",
            "give the manifest an $id of its own",
        ),
        "own-app-id": Code(
            409, "the app id is one of this host's own bots", "a skill needs an app id of its own"
        ),
        "bad-registration": Code(
            422, "the registration document is not sound", "see the message for the member"
        ),
        "digest-mismatch": Code(
            409, "the bytes are not those that were expected", "compare the sha256 of both"
        ),
        "last-grant": Code(
            409,
            "without its last grant everyone could reach the skill",
            "grant everyone explicitly, or disable the skill",
        ),
        "audit-broken": Code(
            500, "the audit trail is not as it was written", "restore the store from a backup"
        ),
        "lock-drift": Code(
            409,
            "the skills are not those of the lock file",
            "write the lock file again, if the change is meant",
        ),
        "bad-body": Code(422, "a member of the body has the wrong form", "see the message"),
        "bad-header": Code(400, "a header of the request has the wrong form", "see the message"),
        "precondition-required": Code(
            428, "a change needs If-Match with the ETag that it starts from", "read it first"
        ),
        "precondition-failed": Code(412, "it was changed since it was read", "read it again"),
        "idempotency-reused": Code(
            422, "the Idempotency-Key was used for another request", "take a new key"
        ),
        "idempotency-running": Code(
            409, "the first request with this Idempotency-Key still runs", "ask again soon"
        ),
        "import-format": Code(422, "no settings can be taken over from the file", "see the docs"),
        "coordination-away": Code(
            503,
            "Redis cannot be reached; the host goes on without, and looks by itself",
            "see that it runs, and coordination.url",
        ),
        "stopping": Code(503, "the host is stopping and takes no new turns", "try again soon"),
    }
)


class SkillsHostError(Exception):
    """The root of the tree: an error with a `code` from a table and the status that goes with it.

    The message is safe to send to a peer: it never holds a claim, a token or a secret.
    """

    code = "internal"

    def __init__(self, message: str = "", *, code: str | None = None) -> None:
        self.code = code or type(self).code
        super().__init__(message or self.meaning)

    @property
    def status(self) -> int:
        """The HTTP status that carries this error."""
        return CODES[self.code].status

    @property
    def meaning(self) -> str:
        """The table's sentence for the code."""
        return CODES[self.code].meaning


class BadInput(SkillsHostError):
    """A peer sent something that cannot be accepted; nothing was done with it."""

    code = "bad-json"


class NotOffered(SkillsHostError):
    """A route of the protocol that this host answers with 501."""

    code = "not-offered"


class UnknownConversation(SkillsHostError):
    """A conversation id that leads nowhere: `unknown-conversation` or `conversation-ended`."""

    code = "unknown-conversation"


class SettingsError(SkillsHostError):
    """A start-up error; the message names the setting."""

    code = "settings"


class NotRegistered(SkillsHostError):
    """The registry has no skill, or no revision, of this name."""

    code = "not-registered"


class RegistryRefused(SkillsHostError):
    """The registry does not do what it is asked; nothing was changed."""

    code = "wrong-state"


class StoreFailed(SkillsHostError):
    """The store could not be read or written; nothing of the unit was written."""

    code = "store-failed"


class TooBusy(SkillsHostError):
    """More is waiting, or came, than is let; nothing was done, and it may be sent again.

    `retry_after` is in seconds. Codes: `too-busy`, `rate-limited`.
    """

    code = "too-busy"

    def __init__(self, *, code: str | None = None, retry_after: int = 1) -> None:
        super().__init__(code=code)
        self.retry_after = retry_after


class VersionConflict(SkillsHostError):
    """A write expected another version of a record; nothing of the unit was written."""

    code = "version-conflict"

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"a {kind} record was changed meanwhile")
        self.kind = kind
        self.key = key


class StateConflict(SkillsHostError):
    """Another turn changed the same property of state since this turn read it."""

    code = "state-conflict"


class TransportFailed(SkillsHostError):
    """A request got no answer: `unreachable`, `deadline`, `host-not-allowed`, `answer-too-large`.

    `sent` is False only where the peer surely saw nothing of the request.
    """

    code = "unreachable"

    def __init__(self, message: str = "", *, code: str | None = None, sent: bool = True) -> None:
        super().__init__(message, code=code)
        self.sent = sent


class TokenUnavailable(SkillsHostError):
    """The authority refused or failed to issue a token; `reason` is its error code, if any."""

    code = "token-unavailable"

    def __init__(self, message: str = "", *, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason


class ChannelFailed(SkillsHostError):
    """The channel answered an activity with `answered`: `channel-failed` or `channel-refused`.

    `retry_after` is in seconds, where the channel said when it would listen again.
    """

    code = "channel-failed"

    def __init__(
        self,
        message: str = "",
        *,
        code: str | None = None,
        answered: int = 0,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.answered = answered
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        """The channel's own refusal is passed on; it concerns what was asked, not who asked.

        What it thinks of this host (401, 407), of its speed (408) or methods (405) does not.
        """
        if 400 <= self.answered < 500 and self.answered not in (401, 405, 407, 408):
            return self.answered
        return 502 if self.answered else CODES[self.code].status


class SkillFailed(SkillsHostError):
    """A skill could not be called or answered with a failure; `answered` is its status, or 0."""

    code = "skill-failed"

    def __init__(self, message: str = "", *, code: str | None = None, answered: int = 0) -> None:
        super().__init__(message, code=code)
        self.answered = answered


def error_body(error: SkillsHostError, *, receipt: str | None = None) -> dict[str, dict[str, str]]:
    """The one error body: `{"error": {"code", "message", "receipt"?}}`."""
    inner = {"code": error.code, "message": str(error)}
    if receipt is not None:
        inner["receipt"] = receipt
    return {"error": inner}
