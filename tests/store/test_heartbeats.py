"""Which processes use a store: alive, on which machine, and who may not be there together."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills_host.errors import SettingsError
from skills_host.store import heartbeats
from skills_host.store.heartbeats import (
    LIFE,
    Heartbeat,
    Heartbeats,
    Machine,
    check_machines,
    living,
    this_machine,
)
from skills_host.store.records import Store
from tests.store.conftest import Clock

HERE, THERE = Machine("m1", "b1"), Machine("m2", "b2")

machines = st.builds(Machine, st.sampled_from("mn"), st.sampled_from(["", "b", "c"]))
beats = st.builds(
    Heartbeat,
    host=st.text(max_size=3),
    machine=machines,
    pid=st.integers(1, 9),
    started=st.floats(0, 9),
    renewed=st.floats(0, 9),
    version=st.text(max_size=3),
    coordinated=st.booleans(),
)


def host(
    store: Store, clock: Clock, name: str, machine: Machine = HERE, *, coordinated: bool = False
) -> Heartbeats:
    return Heartbeats(store, host=name, machine=machine, pid=7, coordinated=coordinated, now=clock)


# Machines


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (Machine("m1", "b1"), True),
        (Machine("copied", "b1"), True),
        (Machine("m1", "another run"), False),
        (Machine("m2", "b2"), False),
        (Machine("m1"), True),
        (Machine("m2"), False),
    ],
)
def test_a_machine_is_one_run_of_one_system(other: Machine, same: bool) -> None:
    assert (HERE.is_same(other), other.is_same(HERE)) == (same, same)


def test_this_machine_has_a_name_that_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("0123456789abcdef0123456789abcdef\n")
    (tmp_path / "boot").write_text("a-boot-id\n")
    ids, boot = [str(tmp_path / "absent"), str(tmp_path / "id")], str(tmp_path / "boot")
    found = this_machine(machine_ids=ids, boot_id=boot)

    assert found == this_machine(machine_ids=ids, boot_id=boot)
    assert found.boot and found.id and "0123456789" not in f"{found}"
    assert found != this_machine(machine_ids=ids[:1], boot_id=boot)
    assert this_machine(machine_ids=ids, boot_id=ids[0]) == Machine(found.id)


def test_this_machine_is_itself() -> None:
    assert this_machine().is_same(this_machine())


# Who may be there together


@given(beats, st.lists(beats, max_size=4))
def test_every_other_machine_needs_coordination(own: Heartbeat, others: list[Heartbeat]) -> None:
    strangers = [other for other in others if not own.machine.is_same(other.machine)]
    if all(own.coordinated and other.coordinated for other in strangers):
        check_machines(own, others, now=9.0)
    else:
        with pytest.raises(SettingsError, match=r"^coordination\.url: another machine"):
            check_machines(own, others, now=9.0)


@given(beats)
def test_a_heartbeat_is_stored_whole(beat: Heartbeat) -> None:
    assert Heartbeat.parse(beat.host, beat.encode()) == beat


async def test_processes_of_one_machine_are_fine(store: Store, clock: Clock) -> None:
    both = [host(store, clock, name) for name in "ab"]
    await asyncio.gather(*(one.open() for one in both))

    assert [(beat.host, beat.pid) for beat in await living(store)] == [("a", 7), ("b", 7)]
    await asyncio.gather(*(one.close() for one in both))
    assert await living(store) == []


async def test_a_second_machine_is_refused_and_leaves_no_trace(store: Store, clock: Clock) -> None:
    here, there = host(store, clock, "a"), host(store, clock, "b", THERE)
    await here.open()
    with pytest.raises(SettingsError, match=r"process 7.*this one has no \[coordination\].* 20 s"):
        await there.open()

    assert [beat.host for beat in await living(store)] == ["a"]
    await here.close()
    await there.open()
    await there.close()


async def test_a_second_machine_is_refused_if_only_it_is_coordinated(
    store: Store, clock: Clock
) -> None:
    here, there = host(store, clock, "a"), host(store, clock, "b", THERE, coordinated=True)
    await here.open()
    with pytest.raises(SettingsError, match="the other has no"):
        await there.open()
    await here.close()


async def test_two_machines_with_coordination_are_fine(store: Store, clock: Clock) -> None:
    here = host(store, clock, "a", coordinated=True)
    there = host(store, clock, "b", THERE, coordinated=True)
    await asyncio.gather(here.open(), there.open())

    assert len(await living(store)) == 2
    await asyncio.gather(here.close(), there.close())


async def test_of_two_machines_at_once_not_both_start(store: Store, clock: Clock) -> None:
    both = [host(store, clock, "a"), host(store, clock, "b", THERE)]
    opened = await asyncio.gather(*(one.open() for one in both), return_exceptions=True)

    assert any(isinstance(result, SettingsError) for result in opened)
    await asyncio.gather(*(one.close() for one in both))


async def test_a_machine_that_died_blocks_nobody_for_long(store: Store, clock: Clock) -> None:
    await host(store, clock, "a")._beat()
    there = host(store, clock, "b", THERE)
    clock.at += LIFE - 0.1
    with pytest.raises(SettingsError, match=r"again in 1 s"):
        await there.open()
    clock.at += 0.2

    await there.open()
    assert [beat.host for beat in await living(store)] == ["b"]
    await there.close()


async def test_a_heart_beats_while_the_host_lives(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeats, "BEAT", 0.001)
    one = host(store, clock, "a")
    await one.open()
    clock.at += LIFE + 1
    async with asyncio.timeout(10):
        while not (found := await living(store)):  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    assert (found[0].started, found[0].renewed) == (clock.at - LIFE - 1, clock.at)
    await one.close()
