"""Where the settings of each SDK's bots say what: one table of places, and what is found there.

botbuilder (appsettings.json, config.py, .env), Composer, and the Agents SDK in its three languages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from skills_host.imports.python_source import FromEnvironment
from skills_host.imports.source import items_of, member, text_of

__all__ = ["FoundBot", "FoundSkill", "bot_in"]

LISTS = (
    ("BotFrameworkSkills",),
    ("SKILLS",),
    ("CHANNELS",),
    ("ChannelHost", "Channels"),
    ("Agent", "Host", "Agents"),
    ("skill",),
)
CALLBACKS = (
    ("SkillHostEndpoint",),
    ("SKILL_HOST_ENDPOINT",),
    ("skillConfiguration", "skillHostEndpoint"),
    ("HOST_ENDPOINT",),
    ("ChannelHost", "HostEndpoint"),
    ("Agent", "Host", "DefaultResponseEndpoint"),
)
CALLERS = (
    ("AllowedCallers",),
    ("ALLOWED_CALLERS",),
    ("skillConfiguration", "allowedCallers"),
    ("runtimeSettings", "skills", "allowedCallers"),
    ("skill", "allowedCallers"),
)
APP = {
    "MicrosoftAppId": ("MicrosoftAppId", "APP_ID", "HOST_APP_ID"),
    "MicrosoftAppPassword": ("MicrosoftAppPassword", "APP_PASSWORD"),
    "MicrosoftAppTenantId": ("MicrosoftAppTenantId", "APP_TENANTID", "APP_TENANT_ID"),
    "MicrosoftAppType": ("MicrosoftAppType", "APP_TYPE"),
    "CertificateThumbprint": ("CertificateThumbprint",),
    "CertificatePrivateKey": ("CertificatePrivateKey",),
}
OTHERS = ("ChannelService", "CHANNEL_SERVICE")
PORTS = ("PORT",)
SIGN_IN = ("ConnectionName", "CONNECTION_NAME")
READ = frozenset(
    path[0].lower()
    for path in (*LISTS, *CALLBACKS, *CALLERS, *((n,) for names in APP.values() for n in names))
) | {name.lower() for name in (*OTHERS, *PORTS, *SIGN_IN, "Connections", "ConnectionsMap")}

IDS = ("id", "alias", "skillId")
APP_IDS = ("appId", "app_id", "msAppId", "clientId")
ENDPOINTS = ("skillEndpoint", "skill_endpoint", "endpointUrl", "endpoint")
TITLES = ("displayName", "name")
# A skill's settings as separate variables: the name of its endpoint, and of its two companions.
VARIABLES = (
    (re.compile(r"(.*?)SkillEndpoint(.*)", re.I), "{0}SkillId{1}", "{0}SkillAppId{1}"),
    (re.compile(r"skill_(.+)_endpoint(?:Url)?", re.I), "", "skill_{0}_appId"),
    (re.compile(r"(.+)_endpoint", re.I), "", "{0}_clientId"),
)
SERVICE_URL = re.compile(r".+_serviceUrl", re.I)
COMPANIONS = re.compile(r".*?SkillId.*|.*?SkillAppId.*|skill_.+_appId|.+_clientId", re.I)


@dataclass(frozen=True, slots=True)
class FoundSkill:
    """One skill as the SDK's bot knows it; values may be from the environment, or unread."""

    id: str
    app_id: Any
    endpoint: Any
    title: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class FoundBot:
    """What a bot's files say; `callers` is None where they say nothing.

    `identity` are the names of Bot Framework (`MicrosoftApp…`), `connection` the settings of the
    Agents SDK's connection of that name, by their names in capitals.
    """

    skills: tuple[FoundSkill, ...] = ()
    callers: tuple[str, ...] | None = None
    callback: str = ""
    port: str = ""
    channel_service: str = ""
    sign_in: str = ""
    identity: Mapping[str, Any] = field(default_factory=dict, repr=False)
    connection_name: str = ""
    connection: Mapping[str, Any] = field(default_factory=dict, repr=False)
    left: tuple[str, ...] = ()


def bot_in(trees: Iterable[Mapping[str, Any]]) -> FoundBot:
    """The bot that some files describe together; of two values the later one counts."""
    tree: dict[str, Any] = {}
    for one in trees:
        lowered = {key.lower() for key in one}
        tree = {key: v for key, v in tree.items() if key.lower() not in lowered} | dict(one)
    variables = tuple(_of_variables(tree))
    skills = (*_listed(tree), *(skill for _, skill in variables))
    name, connection = _connection(tree)
    read = {key.lower() for keys, _ in variables for key in keys}
    return FoundBot(
        skills=skills,
        callers=_callers(tree),
        callback=_callback(tree),
        port=text_of(_first(tree, PORTS)),
        channel_service=text_of(_first(tree, OTHERS)),
        sign_in=text_of(_first(tree, SIGN_IN)),
        identity={
            to: value for to, names in APP.items() if (value := _first(tree, names)) is not None
        },
        connection_name=name,
        connection=connection,
        left=tuple(sorted(key for key in tree if _is_left(key, tree[key], read))),
    )


def _first(tree: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((v for name in names if (v := member(tree, name)) is not None), None)


def _is_left(key: str, value: Any, read: set[str]) -> bool:
    lowered = key.lower()
    if lowered == "agent" and isinstance(value, Mapping):
        return False
    return lowered not in READ | read and not key.startswith(("$", "_"))


# Skills


def _listed(tree: Mapping[str, Any]) -> Iterator[FoundSkill]:
    for path in LISTS:
        found = member(tree, *path)
        if isinstance(found, Mapping) and _is_table(found):
            keyed = {key: v for key, v in found.items() if isinstance(v, Mapping)}
            yield from (_skill(_flat(one), key) for key, one in keyed.items())
        else:
            elements = (e for e in items_of(found) if isinstance(e, Mapping))
            yield from (
                _skill(_flat(one), "") for one in elements if _first(one, ENDPOINTS) is not None
            )


def _is_table(found: Mapping[str, Any]) -> bool:
    """True for skills by name; False for a list that is written with numbers, and for one skill."""
    inner = [value for value in found.values() if isinstance(value, Mapping)]
    return bool(inner) and not all(key.isdigit() for key in found)


def _flat(skill: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = member(skill, "ConnectionSettings")
    return {**skill, **inner} if isinstance(inner, Mapping) else skill


def _skill(given: Mapping[str, Any], key: str) -> FoundSkill:
    id = key or text_of(_first(given, IDS)) or text_of(_first(given, TITLES)) or "skill"
    return FoundSkill(
        id=id,
        app_id=_first(given, APP_IDS),
        endpoint=_first(given, ENDPOINTS),
        title=text_of(_first(given, TITLES)),
        description=text_of(member(given, "description")),
    )


def _of_variables(tree: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], FoundSkill]]:
    """Each skill that separate variables make, with their names."""
    for key, endpoint in tree.items():
        for pattern, id_name, app_name in VARIABLES:
            match = pattern.fullmatch(key)
            if match is None or isinstance(endpoint, Mapping | list):
                continue
            names = (id_name.format(*match.groups()), app_name.format(*match.groups()))
            if member(tree, names[1]) is None:
                continue
            id = text_of(member(tree, names[0])) or match[1].strip("_") or "skill"
            used = (key, *names, f"{match[1]}_serviceUrl")
            yield used, FoundSkill(id, member(tree, names[1]), endpoint)
            break


# The bot itself


def _callers(tree: Mapping[str, Any]) -> tuple[str, ...] | None:
    for path in CALLERS:
        found = member(tree, *path)
        if isinstance(found, FromEnvironment):
            found = found.default if found.default is not None else ""
        if isinstance(found, str):
            return tuple(filter(None, (part.strip() for part in found.split(","))))
        if found is not None:
            return tuple(filter(None, map(text_of, items_of(found))))
    return None


def _callback(tree: Mapping[str, Any]) -> str:
    found = (text_of(member(tree, *path)) for path in CALLBACKS)
    urls = (text_of(value) for key, value in tree.items() if SERVICE_URL.fullmatch(key))
    return next(filter(None, (*found, *urls)), "")


def _connection(tree: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The Agents SDK's connection that its skills are called with, or the one for channels."""
    found = member(tree, "Connections")
    if not isinstance(found, Mapping):
        return "", {}
    agents = member(tree, "Agent", "Host", "Agents")
    named = [
        text_of(member(one, "ConnectionSettings", "TokenProvider"))
        for one in (agents.values() if isinstance(agents, Mapping) else ())
    ]
    named += [text_of(member(m, "Connection")) for m in items_of(member(tree, "ConnectionsMap"))]
    for name in (*named, "ServiceConnection", "SERVICE_CONNECTION", *found):
        settings = member(found, name, "Settings") if name else None
        if isinstance(settings, Mapping):
            return name, {key.upper(): value for key, value in settings.items()}
    return "", {}
