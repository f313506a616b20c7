"""Chains of more bots on different SDKs, and an SDK's consumer as it is shipped."""

from __future__ import annotations

import json

import pytest

from tests.interop.cast import CONSUMERS, DELIVERIES, crossing, peer_root, via
from tests.interop.conftest import require_peer
from tests.interop.matrix import Observed
from tests.interop.world import InteropWorld

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]


async def started(world: InteropWorld, *bots: str) -> None:
    """Start bots of all sorts by name, unless they run."""
    for name in bots:
        if name in CONSUMERS:
            require_peer(world, CONSUMERS[name].peer)
            await world.start_consumer(name)
        elif name in ("root", "plain", "ours"):
            await world.start_host(name)
        else:
            require_peer(world, name)
            await world.start_skill(name)


@pytest.mark.parametrize(
    ("middle", "skill"), [("bfjs-over-bfpy", "bfpy"), ("agpy-over-agjs", "agjs")]
)
async def test_a_root_of_ours_over_two_sdks(
    world: InteropWorld, observed: Observed, middle: str, skill: str
) -> None:
    """State, and an end whose value climbs up two bots to our root's."""
    await started(world, "root", middle, skill)
    talk = world.talk("root")
    ended = 'Skill ended: {"turns":3}'

    assert await talk.say(via(middle)) == [f"Echo: {via(middle)}"]
    assert await talk.say("count") == ["2 messages"]
    assert await talk.say("end") == [ended, f"{ended} (completedSuccessfully)"]
    assert "I did not understand" in (await talk.say("hello"))[0]
    observed.chains[f"our root → {middle[:4]} → {skill} skill"] = "works"


@pytest.mark.parametrize(
    ("consumer", "skill"),
    [("bfpy-over-plain", "bfjs"), ("bfjs-over-plain", "agjs"), ("agpy-over-plain", "bfpy")],
)
async def test_our_root_in_the_middle(
    world: InteropWorld, observed: Observed, consumer: str, skill: str
) -> None:
    """A root of ours without code is a skill as well: it passes on what its skill says."""
    await started(world, "plain", consumer, skill)
    talk = world.talk(consumer)

    assert await talk.say(skill) == [f"Echo: {skill}"]
    assert await talk.say("count") == ["2 messages"]
    assert await talk.say("end") == ['Skill ended: {"turns":3}']
    assert await talk.say(skill, id="anew") == [f"Echo: {skill}"]
    assert await talk.say("cancel") == ["cancelled"]
    observed.chains[f"{consumer[:4]} consumer → our root → {skill} skill"] = "works"


async def test_our_root_in_the_middle_of_a_consumer_without_conversations(
    world: InteropWorld, observed: Observed
) -> None:
    """That SDK puts every activity in a conversation of its own: each names its skill anew."""
    await started(world, "plain", "agjs-over-plain", "agpy")
    talk = world.talk("agjs-over-plain")

    assert await talk.say("agpy") == ["Echo: agpy"]
    assert await talk.say("agpy again") == ["Echo: agpy again"]
    assert "I did not understand" in (await talk.say("count"))[0]
    chain = "agjs consumer → our root → agpy skill"
    observed.chains[chain] = "works, for one message at a time"


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("peer", ("bfpy", "bfjs", "agpy"))
async def test_delivery_modes_differ_from_hop_to_hop(
    world: InteropWorld, peer: str, delivery: str
) -> None:
    """Callbacks on one hop and answers on the other: what is said arrives once, and in order."""
    consumer = peer_root(peer, delivery)
    await started(world, "root", consumer, "ours")
    talk = world.talk("root")
    called, ended = crossing(consumer), 'Skill ended: {"turns":3}'

    assert await talk.say(called) == [f"Echo: {called}"]
    assert await talk.say("long") == ["one", "two"]
    answer = await talk.post(type="invoke", name="lookup", value="fox")
    assert (answer.status, json.loads(answer.body)) == (200, {"found": "fox"})
    assert await talk.say("end") == [ended, f"{ended} (completedSuccessfully)"]


async def test_four_bots_in_a_row(world: InteropWorld, observed: Observed) -> None:
    """Our root, an SDK's, ours again, and an SDK's skill: words go down, an end comes up."""
    await started(world, "root", "bfjs-over-plain", "plain", "bfjs", "bfpy")
    talk = world.talk("root")
    called = via("bfjs-over-plain")
    ended = 'Skill ended: {"turns":2}'

    assert await talk.say(called) == [f"Echo: {called}"]
    assert await talk.say("end") == [ended, f"{ended} (completedSuccessfully)"]
    observed.chains["our root → bfjs → our root → bfjs skill"] = "works"


async def test_an_agents_sdk_consumer_as_shipped(world: InteropWorld) -> None:
    """`_channelId` for `channelId` is tolerated, so that the SDK works as it is."""
    await started(world, "ours", "agjs-as-shipped")
    talk = world.talk("agjs-as-shipped")

    heard = await talk.say("hello there")
    call = world.tap.sent("ours", "hello there")[-1]

    assert ("_channelId" in call.sent, "channelId" in call.sent) == (True, False)
    assert heard == ["Echo: hello there"]
