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
from typing import Any

from pydantic import ValidationError

from skills_host.errors import SettingsError
from skills_host.settings import CLOUDS, Settings, StoreSettings
from skills_host.transport import is_loopback

__all__ = ["from_mapping", "load_settings"]

ENV_PREFIX = "SKILLS_HOST__"
PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

# The names that Bot Framework deployments already have, for the default bot.
MICROSOFT_NAMES = {
    "MicrosoftAppId": ("app_id",),
    "MicrosoftAppPassword": ("credential", "secret"),
    "MicrosoftAppTenantId": ("tenant",),
}


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


def _rooted(settings: Settings, base: Path) -> Settings:
    """Settings whose file names do not depend on the working directory."""
    skills = {
        name: skill
        if skill.manifest is None
        else skill.model_copy(update={"manifest": str(base / skill.manifest)})
        for name, skill in settings.skills.items()
    }
    url = settings.store.url
    if url.startswith("sqlite:///"):
        url = f"sqlite:///{base / url.removeprefix('sqlite:///')}"
    store = settings.store.model_copy(update={"url": url})
    return settings.model_copy(update={"skills": skills, "store": store})
