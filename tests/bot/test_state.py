"""Named properties: what a save writes, and who is told of a conflict."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from skills_host.bot.state import Properties
from skills_host.errors import VersionConflict
from skills_host.store.records import Store
from tests.conversing import opened


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An open store."""
    async with opened(tmp_path) as store:
        yield store


NAMES = ["a", "a/b", "a%2Fb", "", "/"]


async def save(store: Store, properties: Properties) -> None:
    """Write what has changed, as a turn does."""
    changes = properties.changes()
    properties.saved(changes, await store.write(changes))


async def saved(store: Store, **values: Any) -> Properties:
    """Properties of the scope `s` that hold these values and are saved."""
    properties = Properties(store, "s")
    for name, value in values.items():
        properties.set(name, value)
    await save(store, properties)
    return properties


async def test_what_was_never_set_has_a_default(store: Store) -> None:
    properties = Properties(store, "s")

    assert await properties.get("count") is None
    assert await properties.get("count", 0) == 0
    assert properties.changes() == []


@pytest.mark.parametrize("value", [0, "", False, [], {"a": [1.5, None]}, "\u20ac"])
async def test_what_was_saved_is_read_again(store: Store, value: Any) -> None:
    await saved(store, v=value)

    assert await Properties(store, "s").get("v", "default") == value


async def test_what_is_not_saved_is_not_stored(store: Store) -> None:
    properties = Properties(store, "s")
    properties.set("v", 1)

    assert await properties.get("v") == 1
    assert await Properties(store, "s").get("v") is None


async def test_a_value_is_a_copy(store: Store) -> None:
    """Only `set` changes what is stored."""
    properties = await saved(store, v=[1])

    (await properties.get("v")).append(2)

    assert await properties.get("v") == [1]
    assert properties.changes() == []


async def test_a_value_that_is_set_is_a_copy(store: Store) -> None:
    properties, value = Properties(store, "s"), [1]
    properties.set("v", value)

    value.append(2)

    assert await properties.get("v") == [1]


async def test_what_has_no_json_shape_is_refused_at_once(store: Store) -> None:
    with pytest.raises(TypeError):
        Properties(store, "s").set("v", object())


async def test_a_save_writes_only_what_changed(store: Store) -> None:
    properties = await saved(store, one=1, two=2)
    await properties.get("one")
    properties.set("two", 3)

    assert [change.key for change in properties.changes()] == ["s/two"]


async def test_a_property_can_be_deleted(store: Store) -> None:
    properties = await saved(store, v=1)

    properties.delete("v")

    assert await properties.get("v", "gone") == "gone"
    await save(store, properties)
    assert await Properties(store, "s").get("v") is None


async def test_scopes_and_names_do_not_mix(store: Store) -> None:
    """Whatever characters they are made of."""
    properties = Properties(store, "s")
    for name in NAMES:
        properties.set(name, name)
    await save(store, properties)

    fresh = Properties(store, "s")
    assert [await fresh.get(name) for name in NAMES] == NAMES
    assert await Properties(store, "t").get("a") is None
    assert await Properties(store, "s/a").get("b") is None


# Two at once


async def test_different_properties_never_conflict(store: Store) -> None:
    one, two = Properties(store, "s"), Properties(store, "s")
    for properties, name in ((one, "a"), (two, "b")):
        await properties.get("a")
        await properties.get("b")
        properties.set(name, 1)

    await asyncio.gather(save(store, one), save(store, two))

    fresh = Properties(store, "s")
    assert (await fresh.get("a"), await fresh.get("b")) == (1, 1)


@pytest.mark.parametrize("before", [None, 0])
async def test_the_same_property_conflicts(store: Store, before: int | None) -> None:
    """Whether it was there before or not; the first to save stays."""
    if before is not None:
        await saved(store, v=before)
    one, two = Properties(store, "s"), Properties(store, "s")
    for properties, value in ((one, 1), (two, 2)):
        await properties.get("v")
        properties.set("v", value)
    await save(store, one)

    with pytest.raises(VersionConflict):
        await save(store, two)
    assert await Properties(store, "s").get("v") == 1


async def test_deleting_what_was_changed_meanwhile_conflicts(store: Store) -> None:
    one, two = await saved(store, v=0), Properties(store, "s")
    await two.get("v")
    one.set("v", 1)
    await save(store, one)
    two.delete("v")

    with pytest.raises(VersionConflict):
        await save(store, two)


async def test_what_was_never_read_is_overwritten(store: Store) -> None:
    """Nothing was concluded from it."""
    blind = Properties(store, "s")
    blind.set("v", 2)
    await saved(store, v=1)

    await save(store, blind)

    assert await Properties(store, "s").get("v") == 2


async def test_a_turn_can_save_more_than_once(store: Store) -> None:
    properties = await saved(store, v=1)

    for value in (2, None, 3):
        properties.set("v", value) if value else properties.delete("v")
        await save(store, properties)

    assert await Properties(store, "s").get("v") == 3


async def test_what_is_set_during_a_save_is_not_lost(store: Store) -> None:
    properties = Properties(store, "s")
    properties.set("v", 1)
    changes = properties.changes()
    versions = await store.write(changes)
    properties.set("v", 2)

    properties.saved(changes, versions)
    await save(store, properties)

    assert await Properties(store, "s").get("v") == 2


async def test_two_reads_at_once_see_the_same(store: Store) -> None:
    await saved(store, v=1)
    properties = Properties(store, "s")

    assert tuple(await asyncio.gather(properties.get("v"), properties.get("v"))) == (1, 1)
    properties.set("v", 2)
    await save(store, properties)


async def test_what_is_forgotten_is_not_written(store: Store) -> None:
    properties = await saved(store, v=1)
    properties.set("v", 2)

    properties.forget()

    assert properties.changes() == []
    assert await properties.get("v") == 1
