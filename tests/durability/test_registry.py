"""The registry on PostgreSQL: what one process does, every other one goes by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from skills_host.consumer.registry.lifecycle import Standing, standing_of
from skills_host.consumer.registry.live import LiveCatalogue
from skills_host.consumer.registry.records import Actor, Order
from skills_host.settings import Settings
from skills_host.store.postgres import PostgresStore
from tests.consumer.registry.shelf import OWN, approved, manifest, registry_on, submission
from tests.store.conftest import empty_schema

pytestmark = pytest.mark.durability

OPERATOR = Order(Actor("operator"))
HOST = Settings.model_validate(
    {
        "host": {"public_url": "https://root.example"},
        "registry": {"check_seconds": 0.1},
        "bots": {"root": {"kind": "root", "app_id": OWN, "credential": {"secret": "s"}}},
    }
)


@pytest.fixture
async def database() -> AsyncIterator[str]:
    async with empty_schema() as url:
        yield url


async def opened(stack: AsyncExitStack, database: str) -> PostgresStore:
    """A connection of its own, as another process has it."""
    store = PostgresStore(database)
    await store.open()
    stack.push_async_callback(store.close)
    return store


async def test_every_replica_takes_up_an_approval_and_a_revocation(database: str) -> None:
    async with AsyncExitStack() as stack:
        registry = registry_on(await opened(stack, database))
        replicas = []
        for _ in range(3):
            live = LiveCatalogue(registry_on(await opened(stack, database)).ledger, HOST)
            await live.load()
            task = asyncio.create_task(live.run())
            stack.callback(task.cancel)
            replicas.append((live, seen_by(live)))

        await approved(registry)
        await asyncio.wait_for(all_see(replicas, usable=True), 5)
        await registry.revoke("echo", order=OPERATOR)
        await asyncio.wait_for(all_see(replicas, usable=False), 5)

    codes = [dict(live.now.snapshot.barred) for live, _ in replicas]
    assert codes == [{"b0000000-0000-4000-8000-000000000001": "skill-revoked"}] * 3


def seen_by(live: LiveCatalogue) -> asyncio.Event:
    """Set whenever a replica has taken something up."""
    taken = asyncio.Event()
    live.listen(lambda _: taken.set())
    return taken


async def all_see(replicas: list[tuple[LiveCatalogue, asyncio.Event]], *, usable: bool) -> None:
    """Wait until every replica has the skill, or none."""
    for live, taken in replicas:
        while ("echo" in live.now.skills) != usable:
            taken.clear()
            await taken.wait()


async def test_operators_at_several_machines_leave_one_whole_trail(database: str) -> None:
    async with AsyncExitStack() as stack:
        registries = [registry_on(await opened(stack, database)) for _ in range(4)]
        await asyncio.gather(
            *(
                one.add(name, submission(manifest(name), source="upload"), order=OPERATOR)
                for n, one in enumerate(registries)
                for name in (f"a{n}", f"b{n}", f"c{n}")
            )
        )
        records = await registries[0].ledger.skills()
        epoch = (await registries[0].ledger.verify()).epoch

    assert (len(records), epoch) == (12, 12)
    assert {standing_of(record) for record in records} == {Standing.UNKNOWN}
