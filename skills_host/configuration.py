"""Where settings come from: a TOML file, the environment, and files that hold secrets.

`from_mapping` is pure: it gets the parsed file, the environment and a way to read secret files as
arguments. A missing, malformed or unknown setting is a `SettingsError` that names it.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from skills_host.errors import SettingsError
from skills_host.settings import CLOUDS, Settings, SkillSettings, StoreSettings
from skills_host.transport import is_loopback

__all__ = ["from_mapping", "load_settings"]

ENV_PREFIX = "SKILLS_HOST__"
PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
BIND = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^][:\s]+):([0-9]{1,5})")

# The names that Bot Framework deployments already have, for the default bot.
MICROSOFT_NAMES = {
    "MicrosoftAppId": ("app_id",),
    "MicrosoftAppPassword": ("credential", "secret"),
    "MicrosoftAppTenantId": ("tenant",),
}

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
        toml, environ, read_secret=lambda name: (base / name).read_text(encoding="utf-8")
    )
    return _rooted(settings, base)


def from_mapping(
    toml: Mapping[str, Any],
    environ: Mapping[str, str],
    *,
    read_secret: Callable[[str], str] = lambda path: Path(path).read_text(encoding="utf-8"),
) -> Settings:
    """Settings from a parsed TOML file and an environment; the environment wins.

    `${NAME}` in a string of the file is replaced from the environment, whose own values are taken
    as they are. A secret that is written as `@path` is the content of that file, read with
    `read_secret`. Raises `SettingsError` naming the first fault, never a value.
    """

    def in_file(text: str, where: Where) -> str:
        return _secret(text, _expanded(text, environ, where), where, read_secret)

    def in_environ(text: str, where: Where) -> str:
        return _secret(text, text, where, read_secret)

    file = _walked(toml, in_file)
    over = _walked(_from_environ(environ), in_environ)
    given = _merged(file, over)
    default = {"host": {"default_bot": _default_bot(given)}}
    named = _microsoft_names(environ, given)
    tables = _with_cloud(_merged(_merged(_merged(default, file), named), over))
    try:
        settings = Settings.model_validate(tables)
    except ValidationError as exc:
        raise SettingsError(_first_fault(exc)) from None
    return _checked(settings)


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
    is_secret = where[:2] == ("host", "keys") or where[2:] == ("credential", "secret")
    if not is_secret or not written.startswith("@"):
        return text
    try:
        return read_secret(text[1:]).strip()
    except (OSError, ValueError) as exc:
        # Not the name: a secret that happens to begin with @ would be shown.
        reason = exc.strerror if isinstance(exc, OSError) else "not a text file"
        raise SettingsError(f"{'.'.join(where)}: its file cannot be read ({reason})") from None


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
    if not text.startswith(("[", "{")) or name.upper().endswith("__SECRET"):
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


def _microsoft_names(environ: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    bot = _default_bot(given)
    if bot not in _table(given, "bots"):
        return {}
    members: dict[str, Any] = {}
    for name, (*tables, last) in MICROSOFT_NAMES.items():
        value: Any = environ.get(name)
        if value:
            for table in [last, *reversed(tables)]:
                value = {table: value}
            members |= value
    return {"bots": {bot: members}}


def _with_cloud(tables: dict[str, Any]) -> dict[str, Any]:
    given = tables.get("cloud", {})
    overrides = {"preset": given} if isinstance(given, str) else given
    if not isinstance(overrides, dict):
        return tables
    preset = overrides.get("preset", "public")
    if not isinstance(preset, str) or preset not in CLOUDS:
        raise SettingsError(f"cloud.preset: one of {', '.join(CLOUDS)}")
    values = {name: value for name, value in overrides.items() if name != "preset"}
    return tables | {"cloud": CLOUDS[preset].model_dump() | values}


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
    return _completed(settings)


def _check_bind(bind: str) -> None:
    found = BIND.fullmatch(bind)
    if found is None or int(found[2]) > 65535:
        raise SettingsError("host.bind: expected HOST:PORT")


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
    return settings.model_copy(update={"skills": MappingProxyType(skills), "store": store})


def _rooted_skill(skill: SkillSettings, base: Path) -> SkillSettings:
    if skill.manifest is None:
        return skill
    return skill.model_copy(update={"manifest": str(base / skill.manifest)})
