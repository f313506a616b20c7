"""Where settings come from: a TOML file, the environment, and files that hold secrets.

`from_mapping` is pure: it gets the parsed file, the environment and a way to read secret files as
arguments. A missing, malformed or unknown setting is a `SettingsError` that names it.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from skills_host.errors import SettingsError
from skills_host.known_names import known_settings
from skills_host.settings import CLOUDS, Settings, SkillSettings, StoreSettings
from skills_host.transport import is_loopback

__all__ = ["from_mapping", "load_settings"]

ENV_PREFIX = "SKILLS_HOST__"
PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
BIND = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^][:\s]+):([0-9]{1,5})")

VERBATIM = ("__SECRET", "__PASSWORD")
SECRETS = ("secret", "password")
OTHER_SECRETS = (("routing", "model", "secret"), ("metrics", "token"), ("coordination", "url"))
CONTENTS = ("certificate", "key")
PEM = "-----BEGIN "
# A PFX file in base64: its outermost length takes two bytes, and no path is as long.
PFX = re.compile(r"MI[A-Za-z0-9+/]{2}[A-Za-z0-9+/=\s]{500,}")

SINGLE_TENANT = "singletenant"

Where = tuple[str, ...]


def load_settings(path: str | Path | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from a TOML file (None: from the environment alone) and the environment.

    Files that settings name are relative to the folder of the TOML file. Raises `SettingsError`.
    """
    base = Path.cwd() if path is None else Path(path).resolve().parent
    toml: dict[str, object] = {}
    if path is not None:
        try:
            toml = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as exc:
            raise SettingsError(f"{path}: {exc.strerror}") from None
        except ValueError as exc:
            raise SettingsError(f"{path}: {exc}") from None
    settings = from_mapping(
        toml,
        environ,
        read_secret=lambda name: (base / name).read_text(encoding="utf-8"),
        read_file=lambda name: (base / name).read_bytes(),
    )
    return _rooted(settings, base)


def from_mapping(
    toml: Mapping[str, Any],
    environ: Mapping[str, str],
    *,
    read_secret: Callable[[str], str] = lambda path: Path(path).read_text(encoding="utf-8"),
    read_file: Callable[[str], bytes] = lambda path: Path(path).read_bytes(),
) -> Settings:
    """Settings from a parsed TOML file and an environment; the environment wins.

    `${NAME}` in a string of the file is replaced from the environment, whose own values are taken
    as they are. A secret that is written as `@path` is the content of that file, read with
    `read_secret`; a certificate or key that is not given itself is that of a file, read with
    `read_file`. Raises `SettingsError` naming the first fault, never a value.
    """

    def in_file(text: str, where: Where) -> str:
        found = _secret(text, _expanded(text, environ, where), where, read_secret)
        return _content(found, where, read_file)

    def in_environ(text: str, where: Where) -> str:
        return _content(_secret(text, text, where, read_secret), where, read_file)

    file = _walked(toml, in_file)
    over = _walked(_from_environ(environ), in_environ)
    given = _merged(file, over)
    default = {"host": {"default_bot": _default_bot(given)}}
    named = _walked(_known(environ, given), lambda text, where: _content(text, where, read_file))
    tables = _with_cloud(_merged(_merged(_merged(default, file), named), over))
    try:
        settings = Settings.model_validate(tables)
    except ValidationError as exc:
        raise SettingsError(_first_fault(exc)) from None
    settings = _checked(settings)
    _check_tenant(environ, settings)
    return settings


# Reading


def _walked(value: Any, change: Callable[[str, Where], str], where: Where = ()) -> Any:
    """A copy of tables and lists with every string changed."""
    if isinstance(value, Mapping):
        return {str(key): _walked(v, change, (*where, str(key))) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_walked(v, change, (*where, str(index))) for index, v in enumerate(value)]
    return change(value, where) if isinstance(value, str) else value


def _expanded(text: str, environ: Mapping[str, str], where: Where) -> str:
    def from_environ(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in environ:
            raise SettingsError(f"{'.'.join(where)}: the environment has no {name}")
        return environ[name]

    return PLACEHOLDER.sub(from_environ, text)


def _secret(written: str, text: str, where: Where, read_secret: Callable[[str], str]) -> str:
    """The text, or for a secret written as `@path` the content of that file."""
    is_secret = where[:2] == ("host", "keys") or where in OTHER_SECRETS
    if not (is_secret or _is_credential(where, SECRETS)) or not written.startswith("@"):
        return text
    try:
        return read_secret(text[1:]).strip()
    except (OSError, ValueError) as exc:
        # Not the name: a secret that happens to begin with @ would be shown.
        reason = exc.strerror if isinstance(exc, OSError) else "not a text file"
        raise SettingsError(f"{'.'.join(where)}: its file cannot be read ({reason})") from None


def _content(text: str, where: Where, read_file: Callable[[str], bytes]) -> str:
    """The text, or for a path where a certificate or key is expected that file: PEM or base64."""
    if not text or not _is_credential(where, CONTENTS):
        return text
    if PEM in text:
        # In environments that have lines only, the ends of PEM lines are often written out.
        return text.replace("\\n", "\n")
    if PFX.fullmatch(text):
        return text
    try:
        found = read_file(text.removeprefix("@"))
    except (OSError, ValueError) as exc:
        # Not the name: a key in a form that is not known would be shown.
        reason = exc.strerror if isinstance(exc, OSError) else "not a path"
        raise SettingsError(f"{'.'.join(where)}: its file cannot be read ({reason})") from None
    return (
        found.decode(errors="replace")
        if PEM.encode() in found
        else b64encode(found).decode("ascii")
    )


def _is_credential(where: Where, names: tuple[str, ...]) -> bool:
    return where[2:3] == ("credential",) and where[3:] in {(name,) for name in names}


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    # Sorted, a table that is given whole comes before its own members.
    for name in sorted(environ, key=str.upper):
        if name.upper().startswith(ENV_PREFIX):
            _put(found, name, _environ_value(name, environ[name]))
    return found


def _put(found: dict[str, Any], name: str, value: Any) -> None:
    *tables, last = name[len(ENV_PREFIX) :].lower().split("__")
    node: Any = found
    for table in tables:
        node = node.setdefault(table, {})
        if not isinstance(node, dict):
            raise SettingsError(f"{name}: {table} is not a table")
    node[last] = value


def _environ_value(name: str, text: str) -> Any:
    """Lists and tables are written as JSON; a bare string never becomes a list by accident."""
    if not text.startswith(("[", "{")) or name.upper().endswith(VERBATIM):
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise SettingsError(f"{name}: expected JSON after the opening bracket") from None


# Putting together


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _table(tables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A table, or an empty one where something else is; validation complains about that."""
    found = tables.get(name)
    return found if isinstance(found, dict) else {}


def _default_bot(given: Mapping[str, Any]) -> str:
    named, bots = _table(given, "host").get("default_bot"), _table(given, "bots")
    if isinstance(named, str) and named:
        return named
    return next(iter(bots)) if len(bots) == 1 else ""


def _known(environ: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    bot = _default_bot(given)
    return known_settings(environ, bot) if bot in _table(given, "bots") else {}


def _with_cloud(tables: dict[str, Any]) -> dict[str, Any]:
    given = tables.get("cloud", {})
    overrides = {"preset": given} if isinstance(given, str) else given
    if not isinstance(overrides, dict):
        return tables
    preset = overrides.get("preset", "public")
    if not isinstance(preset, str) or preset not in CLOUDS:
        raise SettingsError(f"cloud.preset: one of {', '.join(CLOUDS)}")
    values = {name: value for name, value in overrides.items() if name not in ("preset", "lab")}
    at_lab = _lab_addresses(overrides["lab"]) if "lab" in overrides else {}
    return tables | {"cloud": CLOUDS[preset].model_dump() | at_lab | values}


def _lab_addresses(lab: object) -> dict[str, str]:
    """Where a lab's authority gives tokens and keys: `cloud.lab` in place of three settings."""
    if not isinstance(lab, str) or not is_loopback(urlsplit(lab).hostname or ""):
        raise SettingsError("cloud.lab: a lab's loopback address, such as http://127.0.0.1:3979")
    base = lab.rstrip("/")
    return {
        "login_url": base,
        "entra_metadata": f"{base}/common/v2.0/.well-known/openid-configuration",
        "channel_metadata": f"{base}/v1/.well-known/openidconfiguration",
    }


# Checking


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}"


def _checked(settings: Settings) -> Settings:
    for table, names in (("bots", settings.bots), ("skills", settings.skills)):
        for name in names:
            if not NAME.fullmatch(name):
                raise SettingsError(f"{table}.{name}: a name is a-z, 0-9, - and _")
    if not settings.bots:
        raise SettingsError("bots: no bot is configured")
    if settings.host.default_bot not in settings.bots:
        raise SettingsError("host.default_bot: name one of the configured bots")
    for name, skill in settings.skills.items():
        if skill.manifest is not None and "://" in skill.manifest:
            raise SettingsError(f"skills.{name}.manifest: expected the path of a file")
    _check_bind(settings.host.bind)
    _check_admin(settings)
    return _completed(settings)


def _check_tenant(environ: Mapping[str, str], settings: Settings) -> None:
    bot, app_type = settings.default_bot, environ.get("MicrosoftAppType", "").lower()
    if app_type == SINGLE_TENANT and settings.bots[bot].tenant is None:
        raise SettingsError(
            f"bots.{bot}.tenant: MicrosoftAppType is SingleTenant, so it (or MicrosoftAppTenantId)"
            " is needed"
        )


def _check_bind(bind: str) -> None:
    found = BIND.fullmatch(bind)
    if found is None or int(found[2]) > 65535:
        raise SettingsError("host.bind: expected HOST:PORT")


def _check_admin(settings: Settings) -> None:
    admin = settings.admin
    if admin.enabled and not admin.behind_tls and not is_loopback(settings.host.bind_host):
        raise SettingsError(
            "admin.behind_tls: state that TLS ends before the host, or bind a loopback address"
        )


def _completed(settings: Settings) -> Settings:
    """Settings with the defaults that follow from others."""
    host, store = settings.host, settings.store
    if not host.public_url:
        if not is_loopback(host.bind_host):
            raise SettingsError("host.public_url: needed where bind is not a loopback address")
        host = host.model_copy(update={"public_url": f"http://{host.bind}"})
    if not store.url:
        store = StoreSettings(url=f"sqlite:///.skills-host/{host.default_bot}.db")
    return settings.model_copy(update={"host": host, "store": store})


def _rooted(settings: Settings, base: Path) -> Settings:
    """Settings whose file names do not depend on the working directory."""
    skills = {name: _rooted_skill(skill, base) for name, skill in settings.skills.items()}
    url = settings.store.url
    if url.startswith("sqlite:///"):
        url = f"sqlite:///{base / url.removeprefix('sqlite:///')}"
    store = settings.store.model_copy(update={"url": url})
    lock = settings.host.skills_lock
    host = settings.host.model_copy(update={"skills_lock": str(base / lock) if lock else ""})
    rooted = {"skills": MappingProxyType(skills), "store": store, "host": host}
    return settings.model_copy(update=rooted)


def _rooted_skill(skill: SkillSettings, base: Path) -> SkillSettings:
    rooted: dict[str, object] = {"example_files": tuple(str(base / f) for f in skill.example_files)}
    if skill.manifest is not None:
        rooted["manifest"] = str(base / skill.manifest)
    return skill.model_copy(update=rooted)
