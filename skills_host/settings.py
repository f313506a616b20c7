"""The configuration's one shape, read from a TOML mapping and an environment mapping.

`from_mapping` is pure: it gets the parsed file, the environment and a way to read secret files as
arguments. A missing, malformed or unknown setting is a `SettingsError` that names it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from skills_host.errors import SettingsError
from skills_host.transport import is_loopback

__all__ = [
    "CLOUDS",
    "BotSettings",
    "Cloud",
    "Credential",
    "Delivery",
    "HostSettings",
    "Limits",
    "Settings",
    "SkillSettings",
    "StoreSettings",
    "from_mapping",
]

ENV_PREFIX = "SKILLS_HOST__"
PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

# The names that Bot Framework deployments already have, for the default bot.
MICROSOFT_NAMES = {
    "MicrosoftAppId": ("app_id",),
    "MicrosoftAppPassword": ("credential", "secret"),
    "MicrosoftAppTenantId": ("tenant",),
}


class Delivery(StrEnum):
    """How a skill's answers come back: by callbacks, or in the answer to the POST."""

    NORMAL = "normal"
    EXPECT_REPLIES = "expectReplies"


def canonical_app_id(value: object) -> str:
    """An app id as a lower-case UUID string; `ValueError` for anything else and for all zeros."""
    text = str(UUID(str(value)))
    if text == str(UUID(int=0)):
        raise ValueError("an app id of zeros is a placeholder")
    return text


def _address(value: object) -> str:
    parts = urlsplit(str(value))
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError("expected an http(s) URL without user information")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("plain http is for loopback addresses only")
    return str(value)


AppId = Annotated[str, BeforeValidator(canonical_app_id)]
Address = Annotated[str, BeforeValidator(_address)]
Caller = Annotated[str, BeforeValidator(lambda v: "*" if v == "*" else canonical_app_id(v))]


class Model(BaseModel):
    """A frozen table of settings; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Cloud(Model):
    """The one table of issuers and endpoints of a cloud; every value can be overridden."""

    login_url: Address = "https://login.microsoftonline.com"
    login_tenant: str = "botframework.com"
    channel_scope: str = "https://api.botframework.com"
    channel_issuer: str = "https://api.botframework.com"
    channel_metadata: Address = (
        "https://login.botframework.com/v1/.well-known/openidconfiguration"
    )
    entra_metadata: Address = (
        "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration"
    )
    issuers: tuple[str, ...] = (
        "https://sts.windows.net/{tid}/",
        "https://login.microsoftonline.com/{tid}/v2.0",
    )
    shared_tenants: tuple[AppId, ...] = (
        "d6d49420-f39b-4df7-a1dc-d59a935871db",
        "f8cdef31-a31e-4b4a-93e4-5f571e91255a",
    )
    caller_id: str = "urn:botframework:azure"


CLOUDS: Mapping[str, Cloud] = {
    "public": Cloud(),
    "usgov": Cloud(
        login_url="https://login.microsoftonline.us",
        login_tenant="MicrosoftServices.onmicrosoft.us",
        channel_scope="https://api.botframework.us",
        channel_issuer="https://api.botframework.us",
        channel_metadata=(
            "https://login.botframework.azure.us/v1/.well-known/openidconfiguration"
        ),
        entra_metadata=(
            "https://login.microsoftonline.us/cab8a31a-1906-4287-a0d8-4eef66b95f6e"
            "/v2.0/.well-known/openid-configuration"
        ),
        issuers=(
            "https://sts.windows.net/{tid}/",
            "https://login.microsoftonline.us/{tid}/",
            "https://login.microsoftonline.us/{tid}/v2.0",
        ),
        shared_tenants=(
            "cab8a31a-1906-4287-a0d8-4eef66b95f6e",
            "f8cdef31-a31e-4b4a-93e4-5f571e91255a",
        ),
        caller_id="urn:botframework:azureusgov",
    ),
}


class Limits(Model):
    """Bounds on what the host takes in and how long it waits; times in seconds."""

    body_bytes: int = Field(default=4 * 1024 * 1024, ge=1024)
    body_seconds: float = Field(default=30.0, gt=0)
    skill_seconds: float = Field(default=60.0, gt=0)
    channel_seconds: float = Field(default=15.0, gt=0)
    authority_seconds: float = Field(default=5.0, gt=0)
    stop_seconds: float = Field(default=10.0, gt=0)
    remember_seconds: float = Field(default=24 * 3600.0, gt=0)
    session_seconds: float = Field(default=24 * 3600.0, gt=0)


class HostSettings(Model):
    """`[host]`: where the host listens and what it is called from outside."""

    bind: str = "127.0.0.1:3978"
    public_url: Address = ""
    default_bot: str = ""
    keys: tuple[SecretStr, ...] = ()
    limits: Limits = Limits()

    @property
    def bind_host(self) -> str:
        """The host part of `bind`, without brackets."""
        return self.bind.rpartition(":")[0].strip("[]")


class StoreSettings(Model):
    """`[store]`: what the host remembers, and where."""

    url: str = ""


class Credential(Model):
    """What a bot proves itself with: a client secret."""

    secret: SecretStr

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.secret.get_secret_value():
            raise ValueError("the secret is empty")
        return self


class BotSettings(Model):
    """`[bots.NAME]`: one bot of this host, with its own identity and its own callers."""

    kind: Literal["root", "skill"]
    app_id: AppId
    tenant: AppId | None = None
    credential: Credential
    allowed_callers: tuple[Caller, ...] = ()
    allow_any_caller: bool = False

    @model_validator(mode="after")
    def _wildcard_is_meant(self) -> Self:
        if ("*" in self.allowed_callers) != self.allow_any_caller:
            raise ValueError('allowed_callers = ["*"] and allow_any_caller = true go together')
        return self


class SkillSettings(Model):
    """`[skills.NAME]`: one skill that the root bots of this host may call.

    Either `manifest` (a file or address) or `endpoint` and `app_id` say where it is.
    `phrases` are what users say to start it; `texts` replace what the root says about it.
    """

    manifest: str | None = None
    endpoint: Address | None = None
    app_id: AppId | None = None
    tenants: tuple[AppId, ...] = ()
    title: str | None = None
    description: str | None = None
    phrases: tuple[str, ...] = ()
    texts: Mapping[str, str] = Field(default_factory=dict)
    seconds: float | None = Field(default=None, gt=0)
    delivery: Delivery = Delivery.NORMAL

    @model_validator(mode="after")
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
    cloud: Cloud = Cloud()
    bots: Mapping[str, BotSettings] = Field(default_factory=dict)
    skills: Mapping[str, SkillSettings] = Field(default_factory=dict)

    @property
    def default_bot(self) -> str:
        """The name of the bot that answers `/api/messages`."""
        return self.host.default_bot

    @property
    def is_loopback_only(self) -> bool:
        """True if bind address, public URL and every stated skill endpoint are loopback."""
        urls = [self.host.public_url]
        urls += [skill.endpoint for skill in self.skills.values() if skill.endpoint]
        hosts = [urlsplit(url).hostname or "" for url in urls]
        return all(is_loopback(host) for host in [self.host.bind_host, *hosts])


def from_mapping(
    toml: Mapping[str, Any],
    environ: Mapping[str, str],
    *,
    read_secret: Callable[[str], str] = lambda path: Path(path).read_text(encoding="utf-8"),
) -> Settings:
    """Settings from a parsed TOML file and an environment; the environment wins.

    `${NAME}` in a string is replaced from the environment. A secret that starts with `@` is the
    path of a file, read with `read_secret`. Raises `SettingsError` naming the first fault.
    """
    over = _from_environ(environ)
    merged = _merged(_copied(toml), _copied(over))
    _apply_cloud_preset(merged)
    _apply_default_bot(merged, environ)
    _merged(merged["bots"], over.get("bots", {}))
    expanded = _expanded(merged, environ, path=())
    _read_secret_files(expanded, read_secret)
    try:
        settings = Settings.model_validate(expanded)
    except ValidationError as exc:
        raise SettingsError(_first_fault(exc)) from None
    return _checked(settings)


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _copied(inner) for key, inner in value.items()}
    return value


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _merged(base[key], value)
        else:
            base[key] = value
    return base


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in environ.items():
        if not name.upper().startswith(ENV_PREFIX):
            continue
        *tables, last = name[len(ENV_PREFIX) :].lower().split("__")
        node = found
        for table in tables:
            node = node.setdefault(table, {})
        node[last] = _environ_value(name, text)
    return found


def _environ_value(name: str, text: str) -> Any:
    """Lists and tables are written as JSON; a bare string never becomes a list by accident."""
    if not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise SettingsError(f"{name}: expected JSON after the opening bracket") from None


def _apply_cloud_preset(merged: dict[str, Any]) -> None:
    given = merged.get("cloud")
    overrides = {"preset": given} if isinstance(given, str) else dict(given or {})
    preset = overrides.pop("preset", "public")
    if preset not in CLOUDS:
        raise SettingsError(f"cloud.preset: one of {', '.join(CLOUDS)}")
    merged["cloud"] = CLOUDS[preset].model_dump() | overrides


def _apply_default_bot(merged: dict[str, Any], environ: Mapping[str, str]) -> None:
    bots = merged.setdefault("bots", {})
    host = merged.setdefault("host", {})
    named = {name: environ[name] for name in MICROSOFT_NAMES if environ.get(name)}
    if not host.get("default_bot") and len(bots) == 1:
        host["default_bot"] = next(iter(bots))
    if not named or not host.get("default_bot"):
        return
    bot = bots.setdefault(host["default_bot"], {})
    for name, text in named.items():
        *tables, last = MICROSOFT_NAMES[name]
        node = bot
        for table in tables:
            node = node.setdefault(table, {})
        node[last] = text


def _expanded(value: Any, environ: Mapping[str, str], *, path: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {k: _expanded(v, environ, path=(*path, k)) for k, v in value.items()}
    if isinstance(value, list):
        return [_expanded(v, environ, path=(*path, str(i))) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def from_environ(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in environ:
            raise SettingsError(f"{'.'.join(path)}: the environment has no {name}")
        return environ[name]

    return PLACEHOLDER.sub(from_environ, value)


def _read_secret_files(expanded: dict[str, Any], read_secret: Callable[[str], str]) -> None:
    def resolved(where: str, value: Any) -> Any:
        if not (isinstance(value, str) and value.startswith("@")):
            return value
        try:
            return read_secret(value[1:]).strip()
        except OSError as exc:
            raise SettingsError(f"{where}: cannot read {value[1:]} ({exc.strerror})") from None

    for name, bot in expanded["bots"].items():
        if isinstance(bot, dict) and isinstance(bot.get("credential"), dict):
            credential = bot["credential"]
            where = f"bots.{name}.credential.secret"
            credential["secret"] = resolved(where, credential.get("secret"))
    keys = expanded["host"].get("keys")
    if isinstance(keys, list):
        expanded["host"]["keys"] = [resolved("host.keys", key) for key in keys]


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {fault['msg']}"


def _checked(settings: Settings) -> Settings:
    for table, names in (("bots", settings.bots), ("skills", settings.skills)):
        for name in names:
            if not NAME.fullmatch(name):
                raise SettingsError(f"{table}.{name}: a name is a-z, 0-9, - and _")
    if not settings.bots:
        raise SettingsError("bots: no bot is configured")
    if settings.host.default_bot not in settings.bots:
        raise SettingsError("host.default_bot: name one of the configured bots")
    host, _, port = settings.host.bind.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise SettingsError("host.bind: expected HOST:PORT")
    if not settings.host.public_url:
        if not is_loopback(settings.host.bind_host):
            raise SettingsError("host.public_url: needed where bind is not a loopback address")
        public = settings.host.model_copy(update={"public_url": f"http://{settings.host.bind}"})
        settings = settings.model_copy(update={"host": public})
    if not settings.store.url:
        url = f"sqlite:///.skills-host/{settings.host.default_bot}.db"
        settings = settings.model_copy(update={"store": StoreSettings(url=url)})
    return settings
