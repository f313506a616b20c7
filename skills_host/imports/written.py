"""From the bot that was found to our configuration, and a list of all that is different. Pure."""

from __future__ import annotations

import os.path
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import tomlkit

from skills_host.clouds import canonical_app_id
from skills_host.configuration import from_mapping
from skills_host.consumer.manifest.model import Manifest
from skills_host.consumer.manifest.readers import read_manifest
from skills_host.errors import BadInput, SettingsError
from skills_host.imports.differences import Difference
from skills_host.imports.draft import Draft
from skills_host.imports.identity import NOBODY, bot_table
from skills_host.imports.layouts import FoundBot, FoundSkill, bot_in
from skills_host.imports.python_source import FromEnvironment, Unread
from skills_host.imports.source import SourceFile, text_of
from skills_host.transport import allow_https_or_loopback, is_loopback

__all__ = ["Written", "written"]

CLOUDS = {"https://botframework.azure.us": "usgov", "https://botframework.azure.cn": "china"}
PUBLIC = ("", "https://botframework.com", "https://botframework.azure.com")
ALWAYS = ("conversation-ids", "routing", "deadlines", "operations", "allowed-skills", "state")
PATH = "/api/skills"
SAMPLE_URL = "https://skill.example.com/api/messages"
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Written:
    """A configuration in TOML, the variables that it needs, and what is different with it."""

    toml: str = field(repr=False)
    variables: tuple[str, ...]
    differences: tuple[Difference, ...]

    @property
    def is_whole(self) -> bool:
        """True if nothing had to be left out."""
        return not any(difference.kind.lost for difference in self.differences)


def written(files: Sequence[SourceFile], *, folder: str) -> Written:
    """Our configuration for the bot that `files` describe; it will stand in `folder`.

    Raises `BadInput` (`import-format`) where there is no bot in them, and `SettingsError` where
    what was written is not sound.
    """
    found = bot_in(file.tree for file in files if not file.is_manifest)
    if not (found.skills or found.identity or found.connection or found.callers is not None):
        raise BadInput("no bot or skill is described in it", code="import-format")
    draft = Draft()
    kind = "root" if found.skills or found.callback or found.callers is None else "skill"
    _host(found, draft)
    _cloud(found, draft)
    table = bot_table(found, draft, kind=kind)
    draft.tables["bots"] = {kind: table}
    _callers(found, table, draft, f"bots.{kind}.allowed_callers")
    if kind == "root":
        _skills(found, [file for file in files if file.is_manifest], draft, folder)
        for code in ALWAYS:
            draft.differs(code, "skills")
    if found.sign_in:
        draft.differs("sign-in", f"bots.{kind}", found.sign_in)
    if found.left:
        draft.differs("not-taken-over", "", ", ".join(found.left))
    text = _text(draft)
    from_mapping(tomllib.loads(text), draft.variables, read_file=lambda _: b"")
    return Written(text, tuple(draft.variables), tuple(draft.differences))


def _text(draft: Draft) -> str:
    document = tomlkit.document()
    document.add(tomlkit.comment("Written by skills-host import. It needs in the environment:"))
    document.add(tomlkit.comment(", ".join(draft.variables) or "nothing"))
    for reason in draft.left_out:
        document.add(tomlkit.comment(f"left out: {reason}"))
    for name, table in draft.tables.items():
        document.add(name, tomlkit.item(table))
    return tomlkit.dumps(document)


# The host


def _host(found: FoundBot, draft: Draft) -> None:
    host: dict[str, str] = {}
    port = int(found.port) if found.port.isdigit() and 0 < int(found.port) < 65536 else 0
    url = found.callback.rstrip("/")
    if url and not allow_https_or_loopback(url):
        draft.differs("public-url-refused", "host.public_url", _shown(url))
    elif url:
        parts = urlsplit(url)
        if not url.endswith(PATH):
            draft.differs("skill-host-path", "host.public_url", parts.path or "/")
        base = parts.path.removesuffix(PATH) if url.endswith(PATH) else ""
        host["public_url"] = f"{parts.scheme}://{parts.netloc}{base}"
        if is_loopback(parts.hostname or "") and parts.scheme == "http":
            port = port or parts.port or 0
            draft.differs("http-endpoint", "host.public_url", _shown(url))
    if port:
        host["bind"] = f"127.0.0.1:{port}"
    if host:
        draft.tables["host"] = host


def _cloud(found: FoundBot, draft: Draft) -> None:
    service = found.channel_service.rstrip("/").lower()
    if service in CLOUDS:
        draft.differs("cloud", "cloud.preset", CLOUDS[service])
        draft.tables["cloud"] = {"preset": CLOUDS[service]}
    elif service not in PUBLIC:
        draft.differs("channel-service-unknown", "cloud", _shown(service))


def _callers(found: FoundBot, table: dict[str, Any], draft: Draft, where: str) -> None:
    if found.callers is None:
        return
    allowed = []
    for caller in found.callers:
        try:
            allowed.append(canonical_app_id(caller))
        except ValueError:
            code = "wildcard-callers" if caller == "*" else "caller-refused"
            draft.differs(code, where, caller[:40])
    table["allowed_callers"] = allowed


# Skills


def _skills(found: FoundBot, files: list[SourceFile], draft: Draft, folder: str) -> None:
    own = draft.tables["bots"]["root"]["app_id"]
    manifests = dict(_manifests(files, draft))
    used: set[str] = set()
    tables: dict[str, Any] = {}
    for skill in found.skills:
        name = _name(skill.id, tables, draft)
        where = f"skills.{name}"
        endpoint = _endpoint(skill, name, draft, where)
        app_id = _app_id(skill, name, draft, where)
        if not endpoint:
            draft.leave_out("endpoint-refused", where, _shown(text_of(skill.endpoint)))
        elif app_id == own and not app_id.startswith("$"):
            draft.leave_out("own-app-id", where)
        else:
            source = _manifest_of(endpoint, app_id, manifests)
            used.add(source or "")
            described = manifests.get(source or "")
            place = _place(endpoint, app_id, source, described, draft, where, folder)
            tables[name] = _described(skill, name, described) | place
    for source in manifests.keys() - used:
        draft.leave_out("manifest-unused", "skills", source)
    if tables:
        draft.tables["skills"] = tables


def _name(id: str, taken: Iterable[str], draft: Draft) -> str:
    """A skill's name: `EchoSkillBot` is `echo-skill-bot`."""
    plain = _NOT_IN_NAMES.sub("-", _HUMP.sub("-", id).lower()).strip("-")[:60] or "skill"
    name = plain if plain not in taken else ""
    for number in range(2, 1000):
        name = name or (f"{plain}-{number}" if f"{plain}-{number}" not in taken else "")
    if name != plain:
        draft.differs("duplicate-skill", f"skills.{name}", id[:80])
    elif name != id:
        draft.differs("name-changed", f"skills.{name}", id[:80])
    return name


def _endpoint(skill: FoundSkill, name: str, draft: Draft, where: str) -> str:
    url = text_of(skill.endpoint)
    variable = f"{name}_ENDPOINT".replace("-", "_").upper()
    if isinstance(skill.endpoint, FromEnvironment) and not url:
        return draft.variable(skill.endpoint.name, SAMPLE_URL)
    if isinstance(skill.endpoint, Unread):
        draft.differs("not-read", f"{where}.endpoint", variable)
        return draft.variable(variable, SAMPLE_URL)
    if not allow_https_or_loopback(url):
        return ""
    if urlsplit(url).query:
        draft.differs("secret-in-endpoint", f"{where}.endpoint", variable)
        return draft.variable(variable, SAMPLE_URL)
    if url.startswith("http:"):
        draft.differs("http-endpoint", f"{where}.endpoint", _shown(url))
    return url


def _app_id(skill: FoundSkill, name: str, draft: Draft, where: str) -> str:
    variable = f"{name}_APP_ID".replace("-", "_").upper()
    if isinstance(skill.app_id, FromEnvironment):
        variable = skill.app_id.name
    try:
        return canonical_app_id(text_of(skill.app_id))
    except ValueError:
        code = "not-read" if isinstance(skill.app_id, Unread) else "app-id-missing"
        draft.differs(code, f"{where}.app_id", variable)
        return draft.variable(variable, NOBODY)


def _described(skill: FoundSkill, name: str, manifest: Manifest | None) -> dict[str, str]:
    title = skill.title or (skill.id if skill.id != name else "")
    if manifest is not None:
        title = "" if title == skill.id and manifest.name else title
    found = {"title": title, "description": skill.description}
    return {key: value for key, value in found.items() if value}


def _manifests(files: list[SourceFile], draft: Draft) -> Iterable[tuple[str, Manifest]]:
    for file in files:
        try:
            yield file.name, read_manifest(file.data, source=file.name)
        except SettingsError:
            draft.differs("manifest-refused", "skills", file.name)


def _manifest_of(endpoint: str, app_id: str, manifests: dict[str, Manifest]) -> str | None:
    for source, manifest in manifests.items():
        if any((e.url, e.app_id) == (endpoint, app_id) for e in manifest.endpoints):
            return source
    return None


def _place(
    endpoint: str,
    app_id: str,
    source: str | None,
    manifest: Manifest | None,
    draft: Draft,
    where: str,
    folder: str,
) -> dict[str, str]:
    """Where a skill is: by its manifest, if the endpoint in use is the manifest's first."""
    if source is None or manifest is None:
        return {"endpoint": endpoint, "app_id": app_id}
    if manifest.endpoints[0].url != endpoint:
        draft.differs("manifest-endpoint", where, source)
        return {"endpoint": endpoint, "app_id": app_id}
    draft.differs("manifest", where, source)
    return {"manifest": os.path.relpath(source, folder)}


def _shown(url: str) -> str:
    """An address without what may be a secret in it."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "not an address"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"[:200]
