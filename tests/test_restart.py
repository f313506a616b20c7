"""Stopping and starting again: conversations go on where they were."""

from __future__ import annotations

import pytest

from skills.booking import bot as booking
from tests.world import IDS, ROOT, SKILLS, Town

BOOKED = "Booked: Lisbon on 2030-05-17. Have a good trip!"


async def restart(town: Town, *names: str) -> None:
    """Stop hosts and start them again over the stores they had."""
    for name in names:
        await town.stop(ROOT if name == "root" else SKILLS[name])
    for name in names:
        await (town.start_root() if name == "root" else town.start_skill(name, booking))


@pytest.mark.parametrize("names", [["root"], ["booking"], ["root", "booking"]])
async def test_booking_survives_a_restart(town: Town, names: list[str]) -> None:
    """Of the root, of the skill, and of both, before every answer."""
    for text in ("booking", "Lisbon", "2030-05-17", "2"):
        await town.say(text)
        await restart(town, *names)

    assert await town.say("yes") == [BOOKED]
    assert len({sent.conversation.id for sent in town.to_skill("booking")}) == 1


async def test_callback_after_a_restart_finds_its_user(town: Town) -> None:
    """Handles lead where they led before."""
    await town.say("echo")
    handle = town.handle("echo")
    await restart(town, "root")

    assert await town.callback("echo", handle, {"type": "message", "text": "back"}) == (200, "")
    assert town.said()[-1] == "back"


async def test_skill_changes_after_a_restart_what_it_sent_before(town: Town) -> None:
    """And still nothing else."""
    await town.say("echo")
    handle = town.handle("echo")
    hello = {"type": "message", "text": "hello"}
    await town.callback("echo", handle, hello)
    mine = town.console.conversation("c1").transcript.entries[-1].activity_id
    await restart(town, "root")
    changed, foreign = [
        await town.callback("echo", handle, hello, method="PUT", to=f"/{which}")
        for which in (mine, "another")
    ]

    assert changed == (200, "")
    assert foreign == (403, "not-activity-owner")


async def test_conversation_of_a_skill_that_is_another_bot_now_is_refused(town: Town) -> None:
    """Its policy would be that of somebody else."""
    await town.say("echo")
    handle = town.handle("echo")
    await town.stop(ROOT)
    await town.start_root(echo={"app_id": IDS["booking"]}, booking={"app_id": IDS["echo"]})

    late = await town.callback("echo", handle, {"type": "message", "text": "late"})
    assert late == (403, "skill-not-allowed")


async def test_redelivery_after_a_restart_has_one_effect(town: Town) -> None:
    """What was answered once is answered from the store."""
    activity = town.console.activity("echo", user="ann", conversation="c1")
    first = await town.console.post(activity)
    await restart(town, "root")
    second = await town.console.post(activity)

    assert (first.status, second.status) == (200, 200)
    assert town.said() == ["Echo: echo"]


async def test_ended_conversation_stays_ended(town: Town) -> None:
    """An end is remembered as well."""
    await town.say("echo")
    handle = town.handle("echo")
    await town.say("end")
    await restart(town, "root")

    late = await town.callback("echo", handle, {"type": "message", "text": "late"})
    assert late == (404, "conversation-ended")


async def test_cancel_works_after_a_restart(town: Town) -> None:
    """The floor is known, and so is the skill that has it."""
    await town.say("booking")
    await restart(town, "root")

    assert await town.say("cancel") == ["booking was cancelled."]
    assert await town.say("echo") == ["Echo: echo"]
