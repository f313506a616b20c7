"""Skills of the settings, taken in at start."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from skills_host.consumer.registry.inventory import take_in
from skills_host.consumer.registry.lifecycle import Standing, standing_of
from skills_host.consumer.registry.records import Actor, Order, Origin, SkillRecord
from skills_host.consumer.registry.registry import Registry
from skills_host.errors import SettingsError
from skills_host.registered import submissions
from skills_host.settings import Settings
from skills_host.store.records import Store
from tests.consumer.registry.shelf import AUTHOR, ECHO, OWN, approved, registry_on

OPERATOR = Order(Actor("operator"))


def settings_with(**echo: Any) -> Settings:
    """Settings of a root with one skill, or none."""
    given = {"endpoint": "https://echo.example/api/messages", "app_id": ECHO} | echo
    return Settings.model_validate(
        {
            "host": {"public_url": "https://root.example"},
            "bots": {"root": {"kind": "root", "app_id": OWN, "credential": {"secret": "s"}}},
            "skills": {} if echo.get("title") == "" else {"echo": given},
        }
    )


async def started(registry: Registry, **echo: Any) -> SkillRecord:
    """What the registry says of the skill after a host has started with these settings."""
    sent = submissions(settings_with(**echo))
    await take_in(registry.ledger, sent, now=lambda: 1000.0)
    return await registry.ledger.skill("echo")


async def test_a_configured_skill_is_approved_by_the_configuration(store: Store) -> None:
    registry = registry_on(store)

    record = await started(registry)

    assert (record.origin, standing_of(record)) == (Origin.CONFIGURATION, Standing.RUNNING)
    (entry,) = await registry.ledger.entries()
    assert (entry.actor, entry.verb, entry.skill) == ("configuration", "approve", "echo")


async def test_what_has_not_changed_is_no_new_revision(store: Store) -> None:
    registry = registry_on(store)
    first = await started(registry)

    again = await started(registry)

    assert again == first
    assert (await registry.ledger.head()).epoch == 1


async def test_what_has_changed_is_a_revision_that_runs(store: Store) -> None:
    registry = registry_on(store)
    first = await started(registry)

    second = await started(registry, phrases=["say it again"])
    back = await started(registry)

    assert (len(second.revisions), second.active != first.active) == (2, True)
    assert (len(back.revisions), back.active) == (2, first.active)


async def test_what_is_named_no_more_is_retired_and_comes_back(store: Store) -> None:
    registry = registry_on(store)
    first = await started(registry)

    gone = await started(registry, title="")
    back = await started(registry)

    assert [standing_of(one) for one in (gone, back)] == [Standing.SUSPENDED, Standing.RUNNING]
    assert back.active == first.active


async def test_a_revoked_one_stays_revoked_until_it_changes(store: Store) -> None:
    registry = registry_on(store)
    await started(registry)
    await registry.revoke("echo", order=OPERATOR)

    same = await started(registry)
    other = await started(registry, phrases=["anew"])

    assert [standing_of(one) for one in (same, other)] == [Standing.REVOKED, Standing.RUNNING]


async def test_an_operator_disables_a_configured_skill_for_longer_than_a_restart(
    store: Store,
) -> None:
    registry = registry_on(store)
    await started(registry)
    await registry.disable("echo", order=OPERATOR)

    assert standing_of(await started(registry)) is Standing.SUSPENDED


async def test_a_name_that_is_registered_is_not_taken_over(store: Store) -> None:
    registry = registry_on(store)
    await approved(registry)

    with pytest.raises(SettingsError, match="skills.echo: the registry has a skill"):
        await started(registry)


async def test_a_name_that_the_settings_have_given_up_can_be_registered(store: Store) -> None:
    registry = registry_on(store)
    await started(registry)
    await started(registry, title="")

    await approved(registry)

    assert (await registry.ledger.skill("echo")).origin is Origin.REGISTRY
    assert (await registry.enable("echo", order=AUTHOR)).origin is Origin.REGISTRY


async def test_two_hosts_that_start_at_once_take_it_in_once(store: Store) -> None:
    first, second = registry_on(store), registry_on(store)

    records = await asyncio.gather(started(first), started(second))

    assert records[0].revisions == records[1].revisions
    assert (await first.ledger.verify()).epoch == 1
