"""The configuration's one shape; `skills_host.configuration` reads it from file and environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, SecretStr
from pydantic import model_validator as validated

from skills_host.admin_settings import AdminSettings
from skills_host.clouds import CLOUDS, Address, AppId, Cloud, Model, canonical_app_id
from skills_host.registry_settings import RegistrySettings, SkillsFrom
from skills_host.routing_settings import RoutingSettings, SkillRouting

__all__ = [
    "CLOUDS",
    "Address",
    "AdminSettings",
    "AppId",
    "BotSettings",
    "Cloud",
    "CoordinationSettings",
    "Credential",
    "Delivery",
    "HostSettings",
    "IdentityKind",
    "Limits",
    "MetricsSettings",
    "Operation",
    "Policy",
    "Rate",
    "Settings",
    "SkillSettings",
    "SkillTexts",
    "StoreSettings",
    "canonical_app_id",
]

DIGESTS = ("sha256", "sha1")
HIDDEN: tuple[Literal["secret", "certificate", "key"], ...] = ("secret", "certificate", "key")
LOOPBACK = re.compile(r"127(\.\d{1,3}){3}|\[::1\]|localhost")
REDIS = ("redis", "rediss")
THUMBPRINT = re.compile(r"[0-9A-F]{40}|[0-9A-F]{64}")


class Delivery(StrEnum):
    """How a skill's answers come back: by callbacks, in the answer, or as a stream."""

    NORMAL = "normal"
    EXPECT_REPLIES = "expectReplies"
    STREAM = "stream"


class Operation(StrEnum):
    """What a skill may ask of its skill host: the operations of the Connector REST API."""

    SEND = "send"
    UPDATE = "update"
    DELETE = "delete"
    MEMBERS = "members"
    MEMBER = "member"
    PAGED_MEMBERS = "paged-members"
    ACTIVITY_MEMBERS = "activity-members"
    DELETE_MEMBER = "delete-member"
    HISTORY = "history"
    UPLOAD = "upload"
    ATTACHMENT = "attachment"
    ATTACHMENT_VIEW = "attachment-view"
    CREATE = "create"
    LIST = "list"


class Policy(StrEnum):
    """Whether a skill may: yes; it is refused (403); the host does not have it (501)."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    NOT_OFFERED = "not-offered"


def _thumbprint(value: object) -> str:
    text = str(value)
    # Certificate dialogs write colons or spaces between bytes, and one puts a mark before them.
    digits = re.sub(r"[:\s\u200e]", "", text).upper()
    if not THUMBPRINT.fullmatch(digits):
        if text in DIGESTS:
            return text
        raise ValueError("expected sha256, sha1, or a certificate's own thumbprint in hex")
    return digits


_T = TypeVar("_T")

Caller = Annotated[str, BeforeValidator(lambda v: "*" if v == "*" else canonical_app_id(v))]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Thumbprint = Annotated[str, BeforeValidator(_thumbprint)]
Table = Annotated[Mapping[str, _T], AfterValidator(MappingProxyType), PlainSerializer(dict)]


class Callbacks(StrEnum):
    """When a skill's callback is answered: when the channel has accepted it, or at the latest
    when it is recorded to be sent later."""

    ACCEPTED = "accepted"
    RECORDED = "recorded"


class Limits(Model):
    """Bounds on what the host takes in and how long it waits; each wait ends."""

    body_bytes: int = Field(default=4 * 1024 * 1024, ge=1024)
    body_seconds: Seconds = 30.0
    skill_seconds: Seconds = 60.0
    channel_seconds: Seconds = 15.0
    authority_seconds: Seconds = 5.0
    stop_seconds: Seconds = 10.0
    remember_seconds: Seconds = 24 * 3600.0
    session_seconds: Seconds = 24 * 3600.0
    outbox_seconds: Seconds = 3600.0
    breaker_failures: int = Field(default=5, ge=1)
    breaker_seconds: Seconds = 10.0
    idle_seconds: Seconds = 30 * 60.0
    total_seconds: Seconds = 24 * 3600.0
    lease_seconds: Seconds = 6.0
    answer_seconds: Seconds = 10.0
    open_turns: int = Field(default=1000, ge=1)
    lane_turns: int = Field(default=20, ge=1)
    hops: int = Field(default=8, ge=1, le=64)
    credential_check_seconds: Seconds = 10.0
    unknown_key_burst: int = Field(default=5, ge=1, le=1000)
    unknown_key_seconds: Seconds = 300.0
    denial_seconds: Seconds = 7 * 24 * 3600.0
    denials_kept: int = Field(default=1000, ge=10, le=10_000)


class HostSettings(Model):
    """`[host]`: where the host listens and what it is called from outside."""

    bind: str = "127.0.0.1:3978"
    public_url: Address = ""
    default_bot: str = ""
    keys: tuple[SecretStr, ...] = ()
    sealed: tuple[str, ...] = ("signin/*", "tokens/response")
    callbacks: Callbacks = Callbacks.ACCEPTED
    skills: SkillsFrom = SkillsFrom.ALL
    skills_lock: str = ""
    limits: Limits = Limits()

    @property
    def bind_host(self) -> str:
        """The host part of `bind`, without brackets."""
        return self.bind.rpartition(":")[0].strip("[]")


class StoreSettings(Model):
    """`[store]`: what the host remembers, and where."""

    url: str = ""


class MetricsSettings(Model):
    """`[metrics]`: who may read what the host tells of itself; nobody, if neither is given.

    With `bind` it is read there, each process on the first of `ports` ports from that on that is
    free; without it, on the host's own address. A bearer has to show the `token`, if there is one.
    """

    bind: str | None = None
    ports: int = Field(default=1, ge=1, le=100)
    token: SecretStr | None = Field(default=None, min_length=16)

    @validated(mode="after")
    def _closed_to_strangers(self) -> Self:
        if self.bind is None:
            return self
        host, _, port = self.bind.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise ValueError("bind: expected HOST:PORT")
        if self.token is None and not LOOPBACK.fullmatch(host):
            raise ValueError("bind: an address that others can reach needs a token")
        return self


def _redis_address(given: SecretStr) -> SecretStr:
    # Whatever is wrong with it, it is not shown: it may hold a password.
    try:
        parts = urlsplit(given.get_secret_value())
        is_sound = parts.scheme in REDIS and parts.hostname and parts.port != 0
        # An option in it could turn off what is checked.
        is_sound = is_sound and not parts.query and not parts.fragment
    except ValueError:
        is_sound = False
    if not is_sound or not re.fullmatch(r"/?|/[0-9]{1,4}", parts.path):
        raise ValueError("expected redis://[USER:PASSWORD@]HOST[:PORT][/NUMBER] or rediss://…")
    return given


class CoordinationSettings(Model):
    """`[coordination]`: the Redis through which processes wake each other; without it they look.

    Those that share a store have the same `prefix` there, which no others have.
    """

    url: Annotated[SecretStr, AfterValidator(_redis_address)] | None = None
    prefix: str = Field(default="skills-host", pattern=r"^[A-Za-z0-9._:-]{1,64}$")


class IdentityKind(StrEnum):
    """What proves who the bot is without a secret of its own: its platform, or code of its own."""

    SYSTEM_ASSIGNED = "system-assigned"
    USER_ASSIGNED = "user-assigned"
    WORKLOAD = "workload"
    FEDERATED = "federated"
    EXTERNAL = "external"


class Credential(Model):
    """What a bot proves itself with: a client secret, a certificate with its key, or an `identity`.

    `certificate` and `key` are contents: PEM text, or a PFX file in base64. `thumbprint` says how
    the authority is told which certificate it is: `sha256`, `sha1`, or the very thumbprint in hex,
    which may stand in the place of the certificate where there is only the key. With `send_chain`
    the certificate is sent too, for registrations by subject name and issuer.

    A managed `identity` is asked of the platform: the system's, or the user-assigned one whose
    client id is the bot's app id. A federated one (that of `client_id`, or the system's) proves
    the bot's app id; a workload's proof is the content of `token_file`. An external one is an
    object with azure-core's async `get_token`, which the bot's code brings.
    """

    secret: SecretStr | None = None
    certificate: SecretStr | None = None
    key: SecretStr | None = None
    password: SecretStr | None = None
    send_chain: bool = False
    thumbprint: Thumbprint = DIGESTS[0]
    identity: IdentityKind | None = None
    client_id: AppId | None = None
    token_file: str | None = None

    def revealed(self, name: Literal["secret", "certificate", "key", "password"]) -> str | None:
        """The text of a hidden member, or None if it is not given."""
        value: SecretStr | None = getattr(self, name)
        return None if value is None else value.get_secret_value()

    @validated(mode="after")
    def _one_kind(self) -> Self:
        for name in HIDDEN:
            if self.revealed(name) == "":
                raise ValueError(f"the {name} is empty")
        others = sorted(self.model_fields_set - {"secret"})
        if self.identity is not None:
            self._check_identity(self.identity)
        elif self.client_id is not None or self.token_file is not None:
            raise ValueError("client_id and token_file need identity")
        elif self.secret is None:
            self._check_certificate()
        elif others:
            raise ValueError(f"give either secret or {others[0]}, not both")
        return self

    def _check_identity(self, kind: IdentityKind) -> None:
        for name in sorted(self.model_fields_set - {"identity"}):
            if getattr(self, name) is not None and MEMBER_OF.get(name) is not kind:
                raise ValueError(f"identity {kind} has no {name}")

    def _check_certificate(self) -> None:
        if self.certificate is not None:
            return
        if self.key is None:
            raise ValueError("give secret, certificate or identity")
        if self.thumbprint in DIGESTS:
            raise ValueError("a key alone needs its certificate, or thumbprint in hex")
        if self.send_chain:
            raise ValueError("send_chain needs certificate")


MEMBER_OF = MappingProxyType(
    {"client_id": IdentityKind.FEDERATED, "token_file": IdentityKind.WORKLOAD}
)
NEEDS_TENANT = frozenset(IdentityKind) - {IdentityKind.FEDERATED, IdentityKind.EXTERNAL}


class Rate(Model):
    """`[bots.NAME.rate]`: at most so many turns in so many seconds, of one conversation or caller.

    All of them may come at once; then one more each time its share of the seconds has passed.
    """

    turns: int = Field(ge=1)
    seconds: Seconds = 60.0
    per: Literal["conversation", "caller"] = "conversation"


class BotSettings(Model):
    """`[bots.NAME]`: one bot of this host, with its own identity and its own callers."""

    kind: Literal["root", "skill"]
    app_id: AppId
    tenant: AppId | None = None
    credential: Credential
    allowed_callers: tuple[Caller, ...] = ()
    allow_any_caller: bool = False
    allow_emulator: bool = False
    manifest: str | None = None
    rate: Rate | None = None

    @validated(mode="after")
    def _wildcard_is_meant(self) -> Self:
        if ("*" in self.allowed_callers) != self.allow_any_caller:
            raise ValueError('allowed_callers = ["*"] and allow_any_caller = true go together')
        return self

    @validated(mode="after")
    def _identity_has_a_tenant(self) -> Self:
        kind = self.credential.identity
        if kind in NEEDS_TENANT and self.tenant is None:
            raise ValueError(f"tenant: identity {kind} needs the tenant that it belongs to")
        return self


class Retry(StrEnum):
    """Whether a skill may be posted the same activity twice: it takes it once (`safe`), or not."""

    NEVER = "never"
    SAFE = "safe"


class SkillTexts(Model):
    """What the root says about a skill, in the place of its own words."""

    cancelled: str | None = None
    unavailable: str | None = None
    interrupted: str | None = None
    timed_out: str | None = None
    ended: str | None = None


class SkillSettings(SkillRouting):
    """`[skills.NAME]`: one skill that the root bots of this host may call.

    Either `manifest` (a file) or `endpoint` and `app_id` say where it is.
    `texts` replace what the root says about it. `sends` lists what it sends beside messages, as
    `accepts` does what it takes; unless it is `lenient`, its manifest says both. By default a
    configured skill is lenient, and one of the registry is not.
    """

    manifest: str | None = None
    endpoint: Address | None = None
    app_id: AppId | None = None
    tenants: tuple[AppId, ...] = ()
    title: str | None = None
    description: str | None = None
    texts: SkillTexts = SkillTexts()
    seconds: Seconds | None = None
    idle_seconds: Seconds | None = None
    total_seconds: Seconds | None = None
    delivery: Delivery = Delivery.NORMAL
    invoke_delivery: Delivery = Delivery.EXPECT_REPLIES
    retry: Retry = Retry.NEVER
    operations: Mapping[Operation, Policy] = Field(default_factory=dict)
    sends: tuple[str, ...] | None = None
    lenient: bool | None = None

    @validated(mode="after")
    def _one_source(self) -> Self:
        given = (self.manifest, self.endpoint, self.app_id)
        absent = tuple(value is None for value in given)
        if absent not in ((False, True, True), (True, False, False)):
            raise ValueError("give either manifest, or both endpoint and app_id")
        return self


class Settings(Model):
    """Everything that a host is configured with."""

    host: HostSettings = HostSettings()
    store: StoreSettings = StoreSettings()
    metrics: MetricsSettings = MetricsSettings()
    coordination: CoordinationSettings = CoordinationSettings()
    cloud: Cloud = Cloud()
    bots: Table[BotSettings] = Field(default_factory=dict, validate_default=True)
    skills: Table[SkillSettings] = Field(default_factory=dict, validate_default=True)
    routing: RoutingSettings = RoutingSettings()
    registry: RegistrySettings = RegistrySettings()
    admin: AdminSettings = AdminSettings()

    @property
    def default_bot(self) -> str:
        """The name of the bot that answers `/api/messages`."""
        return self.host.default_bot
