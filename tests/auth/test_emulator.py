"""The Emulator's tokens: issued to the bot itself, believed only where its settings say so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skills_host.activity import Activity
from skills_host.auth.verify import Verifier
from skills_host.transport import Request
from tests.auth.conftest import World
from tests.auth.issuer import BOT, CLOUD, FAR, HOME, OTHER_BOT, PARENT, SKILL, minted, skill_claims
from tests.auth.test_verify import refusal
from tests.world import ROOT, Town, bot_settings

HERE = {"channelId": "emulator", "serviceUrl": "http://localhost:54321"}


def own(**changes: Any) -> str:
    """A token that was issued to the bot, for the bot."""
    return minted(skill_claims(azp=BOT, **changes))


@pytest.fixture
def open_world(world: World) -> World:
    """A verifier whose first bot takes an emulator's calls."""
    world.verifier = Verifier(
        cloud=CLOUD,
        bots={BOT: frozenset({HOME}), OTHER_BOT: frozenset()},
        keys=world.keys,
        snapshot=world.lists,
        now=world.clock,
        emulators={BOT.upper()},
    )
    return world


async def test_an_emulator_is_off_by_default(world: World) -> None:
    assert await refusal(world.at_messages(own())) == "emulator-off"


async def test_an_emulator_is_let_in_where_it_is_meant(open_world: World) -> None:
    identity = await open_world.at_messages(own())

    assert (identity.kind, identity.app_id) == ("emulator", BOT)


async def test_an_older_token_of_an_emulator_is_let_in(open_world: World) -> None:
    token = minted(skill_claims(azp=None, appid=BOT, ver="1.0"))

    assert (await open_world.at_messages(token)).kind == "emulator"


async def test_the_skill_host_takes_no_emulator(open_world: World) -> None:
    assert await refusal(open_world.at_skill_host(own())) == "not-a-skill"


async def test_another_bot_of_the_host_takes_none(open_world: World) -> None:
    token = minted(skill_claims(azp=OTHER_BOT, aud=OTHER_BOT))

    assert await refusal(open_world.at_messages(token, bot=OTHER_BOT)) == "emulator-off"


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("audience", {"aud": CLOUD.channel_scope}),
        ("audience", {"aud": SKILL}),
        ("issuer", {"iss": f"https://sts.windows.net/{FAR}/", "tid": FAR}),
        ("tenant-binding", {"tid": HOME}),
        ("expired", {"exp": 1}),
        ("version", {"ver": None}),
        ("user-token", {"scp": "user_impersonation"}),
        ("user-token", {"idtyp": "user"}),
    ],
)
async def test_an_emulators_token_is_held_to_every_rule(
    open_world: World, code: str, changes: dict[str, Any]
) -> None:
    assert await refusal(open_world.at_messages(own(**changes))) == code


async def test_the_bots_own_token_for_channels_does_not_open_it(open_world: World) -> None:
    """What it sends to every channel would be taken by rules that do not ask for whom it is."""
    token = own(aud=CLOUD.channel_scope)

    assert await refusal(open_world.at_messages(token)) == "audience"


async def test_a_caller_that_is_not_listed_is_no_emulator(open_world: World) -> None:
    open_world.lists.snapshot = open_world.lists.snapshot.__class__(2)
    token = minted(skill_claims(azp=PARENT))

    assert await refusal(open_world.at_messages(token)) == "caller-not-allowed"


@pytest.mark.parametrize(
    ("code", "members"),
    [
        ("service-url", {"serviceUrl": "https://elsewhere.example"}),
        ("service-url", {"serviceUrl": "http://127.0.0.1.example"}),
        ("service-url", {"serviceUrl": "http://user@127.0.0.1"}),
        ("service-url", {"serviceUrl": ""}),
        ("service-url", {"serviceUrl": None}),
        ("endorsement", {"channelId": "msteams"}),
        ("endorsement", {"channelId": None}),
    ],
)
async def test_an_emulator_is_on_this_machine(
    open_world: World, code: str, members: dict[str, Any]
) -> None:
    identity = await open_world.at_messages(own())
    given = {name: value for name, value in (HERE | members).items() if value is not None}
    activity = Activity.parse(json.dumps({"type": "message"} | given).encode())

    async def bound() -> None:
        open_world.verifier.bind(identity, activity)

    assert await refusal(bound()) == code


async def test_an_activity_of_an_emulator_is_bound(open_world: World) -> None:
    identity = await open_world.at_messages(own())

    open_world.verifier.bind(identity, Activity.parse(json.dumps({"type": "a"} | HERE).encode()))


async def test_an_emulator_talks_to_the_root(
    empty_town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    """Over the whole way, and the start says that it may."""
    bot = bot_settings("root", "root", allow_emulator=True)
    await empty_town.start(ROOT, "root", {"bots": {"root": bot}})
    empty_town.console.open("c1")
    said = empty_town.console.activity("help", user="ann", conversation="c1", is_group=False)
    said |= {"channelId": "emulator"}
    url, headers = f"{ROOT}/api/messages", empty_town.bearer("root")
    answer = await empty_town.send(Request("POST", url, headers, json.dumps(said).encode(), 20))
    await empty_town.stop(ROOT)

    assert answer.status == 200, answer.body
    assert empty_town.said()
    assert "an emulator with the bot's own credential may call it" in caplog.text
