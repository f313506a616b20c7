"""`skills-host check`: whether the settings make a host, and what host they make."""

from __future__ import annotations

from typing import Any

import typer

from skills_host.cli.terminal import ConfigOption, JsonOption, fail, print_json, settings_at
from skills_host.configured import (
    World,
    configured_coordination,
    configured_credentials,
    configured_skills,
    trusts_lab,
)
from skills_host.consumer.registry.compile import Skill, snapshot_of
from skills_host.errors import SettingsError
from skills_host.settings import Settings
from skills_host.store.address import shown_url, store_from_url

__all__ = ["check"]


def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check the settings and the manifests they name, without touching the network."""
    settings = settings_at(config)
    try:
        skills = configured_skills(settings)
        snapshot_of(settings, skills)
        configured_credentials(settings, World())
        lab = trusts_lab(settings, skills)
        store_from_url(settings.store.url)
        configured_coordination(settings, name="check")
    except SettingsError as exc:
        fail(exc)
    found = _found(settings, skills, lab=lab)
    if as_json:
        print_json(found)
    else:
        _print(found)


def _found(settings: Settings, skills: dict[str, Skill], *, lab: bool) -> dict[str, Any]:
    redis = settings.coordination.url
    return {
        "bind": settings.host.bind,
        "public_url": settings.host.public_url,
        "store": shown_url(settings.store.url),
        "coordination": shown_url(redis.get_secret_value()) if redis else None,
        "lab": lab,
        "bots": [
            {
                "name": name,
                "kind": bot.kind,
                "app_id": bot.app_id,
                "tenant": bot.tenant,
                "allowed_callers": list(bot.allowed_callers),
            }
            for name, bot in settings.bots.items()
        ],
        "skills": [
            {"name": skill.name, "app_id": skill.app_id, "endpoint": skill.endpoint}
            for skill in skills.values()
        ],
    }


def _print(found: dict[str, Any]) -> None:
    typer.echo(f"{found['public_url']} on {found['bind']}, store {found['store']}")
    if found["coordination"]:
        typer.echo(f"wakes others, and is woken, through {found['coordination']}")
    if found["lab"]:
        typer.echo("trusts a lab authority: loopback only")
    for bot in found["bots"]:
        callers = ", ".join(bot["allowed_callers"]) or "nobody"
        typer.echo(f"{bot['kind']} {bot['name']} {bot['app_id']}; bots that may call: {callers}")
    for skill in found["skills"]:
        typer.echo(f"may call {skill['name']} {skill['app_id']} at {skill['endpoint']}")
    typer.echo("settings are sound")
