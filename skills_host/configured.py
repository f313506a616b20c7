"""What settings make: bots, their credentials, the skills, and what decides about callers."""

from __future__ import annotations

import logging
import os
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from skills_host.auth.allowlist import SnapshotSource
from skills_host.auth.credentials import AnyCredential, TokenCredential, credential_of
from skills_host.auth.keys import SigningKeys
from skills_host.auth.verify import Verifier
from skills_host.bot.handlers import Bot
from skills_host.consumer.manifest.model import Manifest
from skills_host.consumer.manifest.readers import read_manifest, rendered
from skills_host.consumer.orchestrator import Root
from skills_host.consumer.registry.compile import Skill, is_loopback_only, skills_of
from skills_host.consumer.registry.languages import Kept, languages_beside
from skills_host.consumer.routing.reserved import Phrases, ReservedKind
from skills_host.errors import RegistryRefused, SettingsError
from skills_host.registry_settings import SkillsFrom
from skills_host.settings import BotSettings, Settings
from skills_host.store.coordination import Coordination, LocalCoordination
from skills_host.store.heartbeats import Machine, this_machine
from skills_host.telemetry import Telemetry
from skills_host.transport import Send, is_loopback

__all__ = [
    "World",
    "announce_lists",
    "bytes_at",
    "configured_bots",
    "configured_coordination",
    "configured_credentials",
    "configured_skills",
    "configured_words",
    "credential_in",
    "languages_at",
    "served_manifests",
    "trusts_lab",
    "verifier_of",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class World:
    """What a host takes from outside: clock, chance, where it runs, and the network if not its own
    client."""

    now: Callable[[], float] = time.time
    random: Callable[[int], bytes] = secrets.token_bytes
    new_id: Callable[[], str] = field(default=lambda: uuid.uuid4().hex)
    send: Send | None = None
    machine: Machine = field(default_factory=this_machine)
    pid: int = field(default_factory=os.getpid)


def configured_bots(settings: Settings, code: Mapping[str, Bot]) -> dict[str, Bot]:
    """The bots in the settings with their `code`, by name; a root without any is a plain `Root`.

    Roots know the words that settings reserve. Raises `SettingsError` where the two do not fit.
    """
    bots = {name: _bot(name, given, code.get(name)) for name, given in settings.bots.items()}
    for bot in bots.values():
        if isinstance(bot, Root):
            bot.listen_for(configured_words(settings))
    if unknown := set(code) - set(settings.bots):
        raise SettingsError(f"bots.{unknown.pop()}: there is code for it, but no settings")
    return bots


def _bot(name: str, given: BotSettings, code: Bot | None) -> Bot:
    if code is None:
        if given.kind == "skill":
            raise SettingsError(f"bots.{name}: a skill needs code; run it with its file")
        return Root()
    if isinstance(code, Root) != (given.kind == "root"):
        raise SettingsError(f"bots.{name}.kind: {given.kind}, but its code is another kind")
    return code


def configured_credentials(
    settings: Settings, world: World, brought: Mapping[str, TokenCredential] | None = None
) -> dict[str, AnyCredential]:
    """What each bot proves itself with, as good at this instant; `brought` by code, by bot.

    Raises `SettingsError`.
    """
    given = brought or {}
    if unknown := set(given) - set(settings.bots):
        raise SettingsError(f"bots.{unknown.pop()}: there is a credential for it, but no settings")
    return {
        name: credential_in(name, bot, settings, world, given.get(name))
        for name, bot in settings.bots.items()
    }


def credential_in(
    name: str,
    bot: BotSettings,
    settings: Settings,
    world: World,
    brought: TokenCredential | None,
) -> AnyCredential:
    """What one bot proves itself with; `brought` by its code. Raises `SettingsError`."""
    return credential_of(
        name,
        bot,
        cloud=settings.cloud,
        now=world.now(),
        new_id=world.new_id,
        external=brought,
    )


def configured_coordination(
    settings: Settings, *, name: str, telemetry: Telemetry | None = None
) -> Coordination:
    """How the process `name` wakes others and is woken, not yet open. Raises `SettingsError`."""
    given = settings.coordination
    if given.url is None:
        return LocalCoordination()
    # A single process need not carry the client of a server.
    from skills_host.store.redis import RedisCoordination

    return RedisCoordination(
        given.url.get_secret_value(), prefix=given.prefix, name=name, telemetry=telemetry
    )


def configured_skills(settings: Settings) -> dict[str, Skill]:
    """The skills in the settings, with what their manifests say. Raises `SettingsError`.

    None where the host's skills are only those of the registry.
    """
    if settings.host.skills is SkillsFrom.REGISTRY:
        return {}
    return skills_of(settings, _read_manifest)


def configured_words(settings: Settings) -> dict[str, Phrases]:
    """The reserved words that settings give, by language and kind."""
    return {
        tag: {ReservedKind(kind): listed for kind, listed in given if listed is not None}
        for tag, given in settings.routing.words.items()
    }


def announce_lists(settings: Settings) -> None:
    """Log the two lists that people get wrong: the empty one and the one for everybody."""
    for name, bot in settings.bots.items():
        if bot.allow_emulator:
            log.warning("bots.%s: an emulator with the bot's own credential may call it", name)
        if bot.allow_any_caller:
            log.warning("bots.%s: any bot with a token for it may call it", name)
        elif bot.kind == "skill" and not bot.allowed_callers:
            log.warning("bots.%s: allowed_callers is empty, so no bot may call it", name)


def served_manifests(settings: Settings) -> dict[str, bytes]:
    """What is served of the host's own bots, by file name: `NAME.json`, and language files.

    Manifests are filled in with where and what their bots are; of the language files beside them,
    it is those that they name, and what these lead to. Raises `SettingsError` for a manifest that
    is not valid then, and where two files have one name.
    """
    served: dict[str, bytes] = {}
    for name, bot in settings.bots.items():
        if bot.manifest is None:
            continue
        setting, blanks = f"bots.{name}.manifest", _blanks(name, bot, settings)
        body, manifest = _served(setting, bot.manifest, blanks)
        files = _served_beside(manifest, bot.manifest, base=f"{blanks['baseUrl']}/manifests/")
        for file, content in {f"{name}.json": body, **files}.items():
            if served.setdefault(file, content) != content:
                raise SettingsError(f"{setting}: another bot's {file} is served already")
    return served


def languages_at(manifest: Manifest, path: str) -> tuple[Kept, ...]:
    """The language files beside a manifest that settings name; what is left out is logged.

    Raises `SettingsError`.
    """
    try:
        kept, notes = languages_beside(manifest, Path(path))
    except OSError as exc:
        raise SettingsError(f"{exc.filename}: {exc.strerror}") from None
    except RegistryRefused as exc:
        raise SettingsError(f"{path}: {exc}") from None
    for note in notes:
        log.warning("%s: %s", path, note.message)
    return kept


def _served_beside(manifest: Manifest, path: str, *, base: str) -> dict[str, bytes]:
    """The language files beside a bot's manifest by name; what it names elsewhere is not ours."""
    ours = {
        locale: tuple(
            replace(model, url=url)
            for model in models
            if not urlsplit(url := model.url.removeprefix(base)).netloc
        )
        for locale, models in manifest.languages.items()
    }
    kept = languages_at(replace(manifest, languages=ours), path)
    return {file.url.removeprefix("./"): content for file, content in kept}


def _blanks(name: str, bot: BotSettings, settings: Settings) -> dict[str, str]:
    """What the blanks of a bot's template are filled in with."""
    base = settings.host.public_url.rstrip("/")
    prefix = "" if name == settings.default_bot else f"/bots/{name}"
    return {
        **{"baseUrl": base, "endpointUrl": f"{base}{prefix}/api/messages"},
        **{"appId": bot.app_id, "clientId": bot.app_id},
    }


def _served(setting: str, file: str, blanks: Mapping[str, str]) -> tuple[bytes, Manifest]:
    source = f"{setting}: {file}"
    try:
        body = rendered(Path(file).read_text(encoding="utf-8-sig"), blanks).encode()
    except OSError as exc:
        raise SettingsError(f"{source}: {exc.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{source}: not UTF-8") from None
    except KeyError as exc:
        raise SettingsError(f"{source}: no value for {exc.args[0]}") from None
    return body, read_manifest(body, source=source)


def verifier_of(
    settings: Settings, keys: SigningKeys, snapshot: SnapshotSource, *, now: Callable[[], float]
) -> Verifier:
    """What decides about callers of a host with these settings."""
    bots = settings.bots.values()
    return Verifier(
        cloud=settings.cloud,
        bots={bot.app_id: frozenset(filter(None, (bot.tenant,))) for bot in bots},
        keys=keys,
        snapshot=snapshot,
        emulators={bot.app_id for bot in bots if bot.allow_emulator},
        now=now,
    )


def trusts_lab(settings: Settings, skills: Mapping[str, Skill]) -> bool:
    """True if this host believes a lab authority.

    Raises `SettingsError` (`lab-in-public`) where it would, but can be reached from outside.
    """
    cloud = settings.cloud
    urls = (cloud.entra_metadata, cloud.channel_metadata)
    if not any(is_loopback(urlsplit(url).hostname or "") for url in urls):
        return False
    if not is_loopback_only(settings, skills):
        raise SettingsError(code="lab-in-public")
    return True


def _read_manifest(path: str) -> Manifest:
    return read_manifest(bytes_at(path), source=path)


def bytes_at(path: str) -> bytes:
    """The content of a file that settings name. Raises `SettingsError`."""
    try:
        return Path(path).read_bytes()
    except OSError as exc:
        raise SettingsError(f"{path}: {exc.strerror}") from None
