from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills_host.consumer.registry.audit import (
    ENTRY,
    HEAD,
    STREAM,
    AuditBroken,
    Chain,
    Entry,
    Head,
    appended,
)
from skills_host.store.records import Delete, Put, Record, Store, element_key
from tests.consumer.registry.shelf import AUTHOR, approved, registry_on


def trail(length: int) -> list[Record]:
    """A trail as it is stored: its entries, and last its head."""
    head, records = Head(), []
    for n in range(1, length + 1):
        entry = Entry(
            n, 1000.0 + n, "ada", "approve", f"skill-{n}", "aa" * 32, "why", {"a": "b"}, head.digest
        )
        changes = appended(head, entry)
        bodies = [change.body for change in changes if isinstance(change, Put)]
        records.append(Record(ENTRY, element_key(STREAM, n), 1, bodies[0]))
        last = Record(*HEAD, n, bodies[1])
        head = Head.parse(last)
    return [*records, last]


def followed(records: list[Record]) -> Head:
    """The head, if the trail is whole."""
    chain = Chain()
    for record in records[:-1]:
        chain.follow(record)
    return chain.finish(records[-1])


TRAIL = trail(4)


def test_a_whole_trail_verifies() -> None:
    assert followed(TRAIL).epoch == 4


@given(st.data())
def test_a_flipped_byte_is_found_wherever_it_is(data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(TRAIL) - 1))
    body = bytearray(TRAIL[index].body)
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] ^= data.draw(st.integers(1, 255))
    spoilt = [*TRAIL]
    spoilt[index] = replace(TRAIL[index], body=bytes(body))

    with pytest.raises(AuditBroken):
        followed(spoilt)


@given(st.integers(0, len(TRAIL) - 2))
def test_a_missing_entry_is_found(index: int) -> None:
    with pytest.raises(AuditBroken):
        followed(TRAIL[:index] + TRAIL[index + 1 :])


async def test_a_stored_trail_verifies_while_it_grows(store: Store) -> None:
    registry = registry_on(store)
    await approved(registry)

    heads = await asyncio.gather(
        registry.ledger.verify(), registry.drain("echo", order=AUTHOR), registry.ledger.verify()
    )

    assert heads[0].epoch >= 2
    assert (await registry.ledger.verify()).epoch == 3


@pytest.mark.parametrize("n", [1, 2])
async def test_a_spoilt_entry_in_the_store_is_found(store: Store, n: int) -> None:
    registry = registry_on(store)
    await approved(registry)
    entry = (await registry.ledger.entries())[n - 1]
    forged = replace(entry, actor="somebody else").encode()
    await store.write([Put(ENTRY, element_key(STREAM, n), forged)])

    with pytest.raises(AuditBroken) as broken:
        await registry.ledger.verify()

    assert broken.value.code == "audit-broken"


@pytest.mark.parametrize("key", [HEAD, (ENTRY, element_key(STREAM, 2))])
async def test_a_trail_that_was_cut_is_found(store: Store, key: tuple[str, str]) -> None:
    registry = registry_on(store)
    await approved(registry)
    await store.write([Delete(*key)])

    with pytest.raises(AuditBroken):
        await registry.ledger.verify()
