"""What a grant lets a skill on a published SDK be told of a decision, as an entity of its own."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop.cast import told
from tests.interop.tap import Exchange
from tests.interop.world import InteropWorld, Talk

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

CONTEXT = "urn:skills-host:context"
CLIENT = {"type": "clientInfo", "locale": "de-CH"}
FORGED = [{"type": CONTEXT, "reason": "trust me"}, CLIENT]
# Of entities that they do not know, these SDKs hand on the type alone.
BARE = {"bfpy": ("normal", "expectReplies"), "bfjs": ("normal",)}


async def asked(world: InteropWorld, talk: Talk, *, peer: str, skill: str) -> Exchange:
    """Begin with a skill, and have it say which entities it got: how it was asked."""
    assert await talk.say(skill) == [f"Echo: {skill}"]
    await talk.say(f"@{skill} data", locale="de-CH", entities=FORGED)
    return world.tap.sent(peer, talk.conversation)[-1]


def heard_of(talk: Talk, kind: str) -> list[dict[str, Any]]:
    """The entities of this type that the skill handed on with its last words."""
    entities = talk.entries[-1].activity.get("entities") or []
    return [entity for entity in entities if entity["type"] == kind]


async def test_a_skill_whose_grant_passes_context_takes_it(
    world: InteropWorld, peer: str, skill: str, delivery: str
) -> None:
    """Without fault, as an entity that it does not know; of what the user wrote, it gets none."""
    talk = world.talk("root")
    call = await asked(world, talk, peer=peer, skill=told(skill))
    (envelope,) = [entity for entity in call.sent["entities"] if entity["type"] == CONTEXT]

    assert call.status // 100 == 2
    assert envelope == {"type": CONTEXT, "reason": "addressed: addressed", "locale": "de-CH"}
    assert talk.entries[-1].text == "data"
    is_bare = delivery in BARE.get(peer, ())
    assert heard_of(talk, CONTEXT) == [{"type": CONTEXT} if is_bare else envelope]


async def test_a_skill_whose_grant_passes_none_gets_none(
    world: InteropWorld, peer: str, skill: str
) -> None:
    """Nor what the user has written in its place; the user's other entities arrive."""
    talk = world.talk("root")
    call = await asked(world, talk, peer=peer, skill=skill)

    assert call.sent["entities"] == [CLIENT]
    assert (heard_of(talk, CONTEXT), len(heard_of(talk, "clientInfo"))) == ([], 1)
