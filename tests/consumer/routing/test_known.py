"""What routing knows of the skills, made once for whoever asks."""

from __future__ import annotations

import asyncio

from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.routing.known import KnownSkills
from skills_host.consumer.routing.route import Known
from skills_host.routing_settings import RoutingSettings

APP_ID = "a0000000-0000-4000-8000-000000000001"
STEPS = 12


async def test_whoever_asks_at_any_step_of_its_making_is_told() -> None:
    """At the very moment it is ready, too."""
    skills = {"echo": Skill("echo", "Echo", APP_ID, "https://echo.example")}
    known = KnownSkills(lambda: skills, RoutingSettings())

    async def told(steps: int) -> Known:
        for _ in range(steps):
            await asyncio.sleep(0)
        return await known.now()

    found = await asyncio.gather(*map(told, range(STEPS)))

    assert all(one is found[0] for one in found)
    assert found[0].skills is skills
