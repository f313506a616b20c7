"""A skill that is sent the end of a conversation that never was."""

from __future__ import annotations

import time

import pytest

from skills_host.configured import World, configured_credentials
from skills_host.consumer.registry.records import Health, HealthReport
from skills_host.doctor.examine import network
from skills_host.doctor.ping import pinged
from skills_host.transport import Response
from tests.conftest import open_town
from tests.world import IDS, ROOT, SKILLS, Town, bot_settings, settings


async def ping(town: Town, *, root: str = "root") -> HealthReport:
    """What echo says to a root that has this app id."""
    given = settings(ROOT, "root", {"bots": {"root": bot_settings("root", root)}}, town.folder)
    world = World(send=town.send)
    credentials = configured_credentials(given, world)
    async with network(given, world, credentials, lab=True) as (send, _, sources):
        return await pinged(
            f"{SKILLS['echo']}/api/messages",
            app_id=IDS["echo"],
            root_app_id=IDS[root],
            host_url=f"{ROOT}/api/skills",
            source=sources["root"],
            send=send,
            new_id="ping-1",
            now=time.time(),
        )


async def test_a_skill_that_lets_us_in_is_healthy_and_nobody_hears_of_it(empty_town: Town) -> None:
    await open_town(empty_town)

    seen = await ping(empty_town)

    assert seen.health is Health.HEALTHY
    (post,) = [one for one in empty_town.to_skill("echo") if one.type == "endOfConversation"]
    assert post.conversation.id == "ping-1"
    assert not empty_town.said()


async def test_a_skill_that_does_not_list_us_says_whom_to_allow(empty_town: Town) -> None:
    await open_town(empty_town)

    seen = await ping(empty_town, root="stranger")

    assert seen.health is Health.UNAUTHORIZED
    assert IDS["stranger"] in seen.note


@pytest.mark.parametrize(
    ("answer", "health"),
    [(Response(500), Health.DEGRADED), (Response(404), Health.DEGRADED), (None, Health.DOWN)],
)
async def test_a_skill_that_fails_is_degraded_and_one_that_is_away_is_down(
    empty_town: Town, answer: Response | None, health: Health
) -> None:
    await open_town(empty_town)
    if answer is None:
        await empty_town.stop(SKILLS["echo"])
    else:
        empty_town.send.faults[SKILLS["echo"]] = lambda _: answer

    assert (await ping(empty_town)).health is health
