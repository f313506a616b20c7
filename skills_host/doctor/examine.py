"""Everything that can be wrong before the first message, looked at in one go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager

from skills_host.auth.credentials import AnyCredential
from skills_host.auth.keys import SigningKeys
from skills_host.auth.rotation import closed
from skills_host.auth.tokens import TokenSource
from skills_host.configured import (
    World,
    configured_coordination,
    configured_skills,
    trusts_lab,
)
from skills_host.consumer.registry.compile import Skill, snapshot_of
from skills_host.doctor.identity import (
    clock_row,
    credential_rows,
    keys_row,
    pairing_rows,
    token_row,
)
from skills_host.doctor.peers import callback_row, coordination_row, list_rows, skill_row, store_row
from skills_host.doctor.row import Health, Row
from skills_host.errors import SettingsError
from skills_host.settings import Settings
from skills_host.store.address import store_from_url
from skills_host.transport import Client, Send, allow_https_or_loopback, allow_loopback

__all__ = ["examined", "network"]


async def examined(settings: Settings, world: World) -> list[Row]:
    """A row for each thing that was looked at; all wait at the same time, and none for ever."""
    try:
        skills = configured_skills(settings)
        snapshot_of(settings, skills)
        lab = trusts_lab(settings, skills)
        store = store_from_url(settings.store.url, now=world.now)
        coordination = configured_coordination(settings, name="doctor")
    except SettingsError as exc:
        fix = "mend the setting that is named"
        return [Row("settings", Health.FAILED, exc.code, str(exc), fix)]
    rows, credentials = credential_rows(settings, world)
    async with network(settings, world, credentials, lab=lab) as (send, keys, sources):
        cloud = settings.cloud
        checks: list[Awaitable[Row]] = [
            store_row(store, settings.store.url),
            *([coordination_row(coordination)] if settings.coordination.url else []),
            clock_row(send, cloud.entra_metadata, world),
            keys_row(keys, "the channels", cloud.channel_metadata),
            keys_row(keys, "Entra", cloud.entra_metadata),
            *_token_checks(settings, skills, sources),
            *_peer_checks(settings, skills, sources, send),
        ]
        found = await asyncio.gather(*checks)
    own = [*rows, *list_rows(settings, skills.values()), *pairing_rows(settings, skills.values())]
    return [Row("settings"), *own, *found]


def _token_checks(
    settings: Settings, skills: Mapping[str, Skill], sources: Mapping[str, TokenSource]
) -> list[Awaitable[Row]]:
    scope = settings.cloud.channel_scope
    checks: list[Awaitable[Row]] = []
    for name, source in sources.items():
        checks.append(token_row(name, source, scope, what="channels"))
        peers = skills.values() if settings.bots[name].kind == "root" else ()
        checks += [token_row(name, source, peer.app_id, what=peer.name) for peer in peers]
    return checks


def _peer_checks(
    settings: Settings,
    skills: Mapping[str, Skill],
    sources: Mapping[str, TokenSource],
    send: Send,
) -> list[Awaitable[Row]]:
    checks: list[Awaitable[Row]] = []
    for name, bot in settings.bots.items():
        if bot.kind == "root":
            peers = skills.values()
            checks += [skill_row(name, peer, sources.get(name), send) for peer in peers]
            checks.append(callback_row(name, settings, send))
    return checks


@asynccontextmanager
async def network(
    settings: Settings,
    world: World,
    credentials: Mapping[str, AnyCredential],
    *,
    lab: bool,
) -> AsyncIterator[tuple[Send, SigningKeys, dict[str, TokenSource]]]:
    """What checks need to ask others, closed afterwards: token sources by the bots' names."""
    client = Client(guard=allow_loopback if lab else allow_https_or_loopback)
    send = world.send or client
    keys = SigningKeys(send, now=world.now, allow_lab=lab)
    sources = {
        name: TokenSource(send, cloud=settings.cloud, credential=credential, now=world.now)
        for name, credential in credentials.items()
    }
    try:
        yield send, keys, sources
    finally:
        for source in sources.values():
            await source.close()
        for credential in credentials.values():
            await closed(credential)
        await keys.close()
        await client.close()
