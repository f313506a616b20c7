"""What every `Store` promises, and the pure rules beside it."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest

from skills_host.errors import StoreFailed, VersionConflict
from skills_host.store.records import (
    ANY,
    NEW,
    Append,
    Delete,
    Put,
    Record,
    Store,
    check_unit,
    element_key,
)
from tests.store.conftest import Clock


async def test_what_was_put_is_read(store: Store) -> None:
    await store.write([Put("state", "a", b"one", owner="root", expires=2000.0)])

    read = await store.read([("state", "a")])

    assert read == {("state", "a"): Record("state", "a", 1, b"one", "root", 2000.0)}


async def test_many_are_read_at_once_and_absent_ones_are_missing(store: Store) -> None:
    await store.write([Put("state", "a", b"1"), Put("session", "a", b"2"), Put("x", "b", b"3")])

    read = await store.read([("state", "a"), ("session", "a"), ("state", "b"), ("state", "a")])

    assert {key: record.body for key, record in read.items()} == {
        ("state", "a"): b"1",
        ("session", "a"): b"2",
    }


async def test_reading_nothing_gives_nothing(store: Store) -> None:
    assert await store.read([]) == {}


async def found(store: Store, prefix: str = "", *, after: str = "", limit: int = 100) -> list[str]:
    """The keys that a scan of the kind "x" finds."""
    return [record.key for record in await store.scan("x", prefix, after=after, limit=limit)]


async def test_a_scan_gives_whole_records(store: Store) -> None:
    await store.write([Put("x", "a", b"one", owner="root", expires=2000.0)])

    assert await store.scan("x", limit=1) == [Record("x", "a", 1, b"one", "root", 2000.0)]


async def test_a_scan_finds_the_keys_of_a_prefix_in_order(store: Store) -> None:
    await store.write([Put("x", key, b"") for key in ("b", "a/2", "a", "a/", "a0", "a/10", "A/1")])

    assert await found(store, "a/") == ["a/", "a/10", "a/2"]


async def test_a_scan_keeps_to_its_kind(store: Store) -> None:
    await store.write([Put("x", "a", b""), Put("y", "a", b""), Put("w", "a", b"")])

    assert await found(store) == ["a"]
    assert await store.scan("z", limit=1) == []


async def test_a_scan_finds_the_elements_of_a_stream_by_number(store: Store) -> None:
    for _ in range(12):
        await store.write([Append("x", "a", b"")])

    assert await found(store, "a/") == [element_key("a", n) for n in range(1, 13)]


@pytest.mark.parametrize(
    "prefix",
    [
        "%",
        "_",
        "a_",
        "*",
        "[a]",
        "A",
        "'",
        "\\",
        "\0",
        "ß",
        "ü",
        "\ud7ff",
        "\uffff",
        "𝄞",
        "\U0010ffff",
    ],
)
async def test_a_prefix_is_taken_literally(store: Store, prefix: str) -> None:
    own = [prefix + rest for rest in ("", "\0", "x", "\U0010ffff\U0010ffff")]
    others = ["a", "ab", "aß", "z", "u\u0308", "\ue000", "\ufffe", "\U0001d11d", "\U0001d11f"]
    await store.write([Put("x", key, b"") for key in own + others])

    assert await found(store, prefix) == own


async def test_a_scan_is_a_filter_of_the_sorted_keys(store: Store) -> None:
    parts = ["", "\0", "%", "_", "a", "é", "\ud7ff", "\ue000", "\uffff", "𝄞", "\U0010ffff"]
    texts = [one + two for one, two in product(parts, parts)]
    keys = sorted(set(texts) - {""})
    await store.write([Put("x", key, b"") for key in keys])

    for prefix, after in product(parts, texts):
        wanted = [key for key in keys if key.startswith(prefix) and key > after]
        assert await found(store, prefix, after=after, limit=5) == wanted[:5], (prefix, after)


async def test_pages_of_a_scan_join_without_gap_or_overlap(store: Store) -> None:
    keys = [f"a/{n}" for n in range(10, 20)]
    await store.write([Put("x", key, b"") for key in [*keys, "a", "b"]])
    pages = [await found(store, "a/", limit=4)]
    for _ in range(3):
        pages.append(await found(store, "a/", after=pages[-1][-1], limit=4))

    assert [len(page) for page in pages] == [4, 4, 2, 0]
    assert sum(pages, []) == keys


@pytest.mark.parametrize(
    ("after", "keys"),
    [("", ["b/1", "b/3"]), ("a", ["b/1", "b/3"]), ("b/1", ["b/3"]), ("b/2", ["b/3"]), ("c", [])],
)
async def test_a_scan_goes_on_after_a_key_that_need_not_exist(
    store: Store, after: str, keys: list[str]
) -> None:
    await store.write([Put("x", key, b"") for key in ("a/1", "b/1", "b/3", "c/1")])

    assert await found(store, "b/", after=after) == keys


async def test_a_scan_for_nothing_finds_nothing(store: Store) -> None:
    await store.write([Put("x", "a", b"")])

    assert await found(store, limit=0) == []


async def test_a_scan_leaves_out_expired_records_and_does_not_count_them(
    store: Store, clock: Clock
) -> None:
    await store.write([Put("x", key, b"", expires=1010.0) for key in ("a", "c")])
    await store.write([Put("x", "b", b""), Put("x", "d", b"", expires=1011.0)])
    clock.at = 1010.0

    assert await found(store, limit=2) == ["b", "d"]


async def test_a_scan_does_not_find_the_empty_key(store: Store) -> None:
    await store.write([Put("x", "", b""), Put("x", "a", b"")])

    assert await found(store) == ["a"]


async def test_a_scan_with_a_negative_limit_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        await store.scan("x", limit=-1)


@pytest.mark.parametrize("place", ["kind", "prefix", "after"])
async def test_a_scan_for_text_that_is_not_unicode_is_refused(store: Store, place: str) -> None:
    asked = {"kind": "x", "prefix": "", "after": ""} | {place: "\ud800"}

    with pytest.raises(ValueError, match="surrogates"):
        await store.scan(asked["kind"], asked["prefix"], after=asked["after"], limit=1)


async def test_a_version_grows_by_one(store: Store) -> None:
    versions = [await store.write([Put("state", "a", body)]) for body in (b"1", b"2", b"3")]

    assert versions == [(1,), (2,), (3,)]


async def test_a_put_at_the_right_version_is_made(store: Store) -> None:
    await store.write([Put("state", "a", b"1", expects=NEW)])

    assert await store.write([Put("state", "a", b"2", expects=1)]) == (2,)


@pytest.mark.parametrize("expects", [NEW, 2, -1])
async def test_a_put_at_another_version_conflicts(store: Store, expects: int) -> None:
    await store.write([Put("state", "a", b"1")])

    with pytest.raises(VersionConflict) as caught:
        await store.write([Put("state", "a", b"2", expects=expects)])

    assert (caught.value.kind, caught.value.key) == ("state", "a")


async def test_a_put_that_expects_an_absent_record_conflicts(store: Store) -> None:
    with pytest.raises(VersionConflict):
        await store.write([Put("state", "a", b"1", expects=1)])


async def test_a_conflict_leaves_nothing_of_the_unit(store: Store) -> None:
    await store.write([Put("state", "kept", b"1")])

    with pytest.raises(VersionConflict):
        await store.write(
            [
                Put("state", "new", b"2"),
                Append("log", "a", b"2"),
                Delete("state", "kept"),
                Put("state", "other", b"2", expects=7),
            ]
        )

    keys = [("state", "new"), ("state", "kept"), ("log", element_key("a", 1))]
    assert list(await store.read(keys)) == [("state", "kept")]


async def test_a_deleted_record_is_gone(store: Store) -> None:
    await store.write([Put("state", "a", b"1")])

    assert await store.write([Delete("state", "a", expects=1)]) == (0,)
    assert await store.read([("state", "a")]) == {}


async def test_a_delete_at_another_version_conflicts(store: Store) -> None:
    await store.write([Put("state", "a", b"1")])

    with pytest.raises(VersionConflict):
        await store.write([Delete("state", "a", expects=2)])


async def test_deleting_what_is_absent_does_nothing(store: Store) -> None:
    assert await store.write([Delete("state", "a")]) == (0,)


async def test_writing_nothing_does_nothing(store: Store) -> None:
    assert await store.write([]) == ()


async def test_elements_are_numbered_from_one(store: Store) -> None:
    numbers = [await store.write([Append("log", "a", body)]) for body in (b"x", b"y")]

    read = await store.read([("log", "a/000000000001"), ("log", "a/000000000002")])
    assert numbers == [(1,), (2,)]
    assert [(record.version, record.body) for record in read.values()] == [(1, b"x"), (1, b"y")]


async def test_an_append_expects_the_last_number(store: Store) -> None:
    await store.write([Append("log", "a", b"1", expects=NEW)])
    await store.write([Append("log", "a", b"2", expects=1)])

    for expects in (NEW, 1, 3):
        with pytest.raises(VersionConflict):
            await store.write([Append("log", "a", b"3", expects=expects)])


@pytest.mark.parametrize("other", ["a/5", "a/", "", "a\x00", "a/000000000001", "b"])
async def test_streams_with_similar_names_are_apart(store: Store, other: str) -> None:
    await store.write([Append("log", "a", b"1")])

    assert await store.write([Append("log", other, b"1", expects=NEW)]) == (1,)
    assert await store.write([Append("log", "a", b"2", expects=1)]) == (2,)
    assert await store.write([Append("log", other, b"2", expects=1)]) == (2,)


@pytest.mark.parametrize("expects", [1, ANY])
async def test_an_element_that_is_put_again_keeps_its_place(
    store: Store, expects: int | None
) -> None:
    await store.write([Append("log", "a", b"1")])

    assert await store.write([Put("log", element_key("a", 1), b"2", expects=expects)]) == (2,)
    assert await store.write([Append("log", "a", b"3", expects=1)]) == (2,)


async def test_the_number_of_a_deleted_last_element_is_given_again(store: Store) -> None:
    await store.write([Append("log", "a", b"1")])
    await store.write([Delete("log", element_key("a", 1))])

    assert await store.write([Append("log", "a", b"2", expects=NEW)]) == (1,)


async def test_a_number_inside_a_stream_is_not_given_again(store: Store) -> None:
    await store.write([Append("log", "a", b"1")])
    await store.write([Append("log", "a", b"2")])
    await store.write([Delete("log", element_key("a", 1))])

    assert await store.write([Append("log", "a", b"3")]) == (3,)


@pytest.mark.parametrize("expects", [NEW, ANY])
async def test_an_expired_record_counts_as_absent(
    store: Store, clock: Clock, expects: int | None
) -> None:
    await store.write([Put("state", "a", b"1", expires=1010.0)])
    await store.write([Append("log", "a", b"1", expires=1010.0)])
    clock.at = 1010.0

    assert await store.read([("state", "a"), ("log", element_key("a", 1))]) == {}
    assert await store.write([Put("state", "a", b"2", expects=expects)]) == (1,)
    assert await store.write([Append("log", "a", b"2", expects=expects)]) == (1,)


async def test_a_put_renews_the_expiry(store: Store, clock: Clock) -> None:
    await store.write([Put("state", "a", b"1", expires=1010.0)])
    await store.write([Put("state", "a", b"2", expires=1020.0)])
    clock.at = 1015.0

    assert ("state", "a") in await store.read([("state", "a")])


async def test_expire_removes_the_oldest_up_to_the_limit(store: Store, clock: Clock) -> None:
    await store.write([Put("x", str(n), b"", expires=1000.0 + n) for n in range(1, 6)])
    await store.write([Put("x", "kept", b"")])

    assert await store.expire(1004.0, 3) == 3
    assert sorted(key for _, key in await store.read([("x", str(n)) for n in range(1, 6)])) == [
        "4",
        "5",
    ]
    assert await store.expire(1004.0, 3) == 1
    assert await store.expire(1004.0, 3) == 0


async def test_two_writes_at_once_at_one_version_let_one_through(store: Store) -> None:
    await store.write([Put("state", "a", b"0")])

    outcomes = await asyncio.gather(
        *(store.write([Put("state", "a", bytes([n]), expects=1)]) for n in range(8)),
        return_exceptions=True,
    )

    assert outcomes.count((2,)) == 1
    assert sum(isinstance(outcome, VersionConflict) for outcome in outcomes) == 7


async def test_appends_at_once_all_get_numbers_of_their_own(store: Store) -> None:
    numbers = await asyncio.gather(*(store.write([Append("log", "a", b"")]) for _ in range(50)))

    assert sorted(numbers) == [(n,) for n in range(1, 51)]


async def test_a_conflict_does_not_disturb_its_neighbours(store: Store) -> None:
    outcomes = await asyncio.gather(
        *(store.write([Put("state", str(n), b"", expects=n % 2)]) for n in range(20)),
        return_exceptions=True,
    )

    assert [outcome == (1,) for outcome in outcomes] == [n % 2 == 0 for n in range(20)]
    assert len(await store.read([("state", str(n)) for n in range(20)])) == 10


async def test_a_cancelled_write_is_made_and_others_are_answered(store: Store) -> None:
    writes = [asyncio.create_task(store.write([Put("state", str(n), b"")])) for n in range(10)]
    await asyncio.sleep(0)
    writes[3].cancel()
    await asyncio.wait(writes)
    await store.write([Put("state", "last", b"")])

    assert writes[3].cancelled()
    assert [task.result() for task in writes if task is not writes[3]] == [(1,)] * 9
    assert ("state", "3") in await store.read([("state", "3")])


async def test_the_same_key_twice_in_a_unit_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="twice"):
        await store.write([Put("state", "a", b"1"), Delete("state", "a")])


async def test_text_that_is_not_unicode_is_refused_before_it_is_queued(store: Store) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        await store.write([Put("state", "\ud800", b"1")])

    assert await store.write([Put("state", "a", b"1")]) == (1,)


async def test_a_store_that_works_passes_its_probe(store: Store) -> None:
    await store.probe()
    await store.probe()


async def test_a_closed_store_fails(store: Store) -> None:
    await store.close()
    await store.close()

    for attempt in (
        store.read([("state", "a")]),
        store.scan("state", limit=1),
        store.write([Put("state", "a", b"")]),
        store.expire(0.0, 1),
        store.probe(),
    ):
        with pytest.raises(StoreFailed):
            await attempt


async def test_closing_finishes_what_was_accepted(store: Store) -> None:
    writes = [asyncio.create_task(store.write([Put("x", str(n), b"")])) for n in range(20)]
    await asyncio.sleep(0)
    await asyncio.gather(store.close(), store.close())

    assert await asyncio.gather(*writes) == [(1,)] * 20


async def test_whichever_close_returns_first_nothing_is_left_to_write(store: Store) -> None:
    writes = [asyncio.create_task(store.write([Put("x", str(n), b"")])) for n in range(200)]
    await asyncio.sleep(0)
    closing = {asyncio.create_task(store.close()) for _ in range(8)}
    await asyncio.wait(closing, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0)

    assert all(write.done() for write in writes)
    await asyncio.gather(*closing, *writes)


async def test_opening_twice_does_nothing(store: Store) -> None:
    await store.write([Put("state", "a", b"")])
    await asyncio.gather(store.open(), store.open())

    assert len(await store.read([("state", "a")])) == 1


def test_bodies_are_not_in_reprs() -> None:
    values = (
        Record("k", "a", 1, b"secret"),
        Put("k", "a", b"secret"),
        Append("k", "a", b"secret"),
    )

    assert "secret" not in repr(values)


def test_one_kind_and_key_may_change_once_in_a_unit() -> None:
    check_unit([Put("a", "b", b""), Put("b", "b", b""), Delete("a", "c")])

    with pytest.raises(ValueError, match="twice"):
        check_unit([Append("a", "b", b""), Append("a", "b", b"")])
