"""The doctor finds what is seeded, and has nothing to say of a healthy fleet."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from email.utils import formatdate
from typing import Any

import pytest
import pytest_asyncio

from skills_host.configured import World
from skills_host.doctor.examine import examined
from skills_host.doctor.row import Health, Row, worst
from skills_host.errors import SettingsError
from skills_host.lab.authority import Authority, LabApp
from skills_host.lab.service import create_lab
from skills_host.settings import Settings
from skills_host.transport import Request, Response, Send
from tests.auth.pairs import pair
from tests.conftest import new_folder, open_town
from tests.world import IDS, LAB, ROOT, SKILLS, Lab, Town, bot_settings, settings, skill_settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY = 24 * 3600.0
MANAGED = "e0000000-0000-4000-8000-000000000005"
ELSEWHERE = "e0000000-0000-4000-8000-000000000007"
TENANT = "c0000000-0000-4000-8000-000000000003"
UNKNOWN = "f0000000-0000-4000-8000-000000000009"


class Fleet(Lab):
    """A lab that also knows a managed identity, and an app of one tenant only."""

    def __init__(self) -> None:
        apps = [LabApp(app_id, f"{name}-secret") for name, app_id in IDS.items()]
        apps += [
            LabApp(MANAGED, managed="user", tenant=TENANT),
            LabApp(ELSEWHERE, "elsewhere-secret", tenant=TENANT),
        ]
        self.authority = Authority(apps=apps, base_url=LAB)
        self.app = create_lab(self.authority, mint_secret="mint")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet() -> AsyncIterator[Town]:
    """A root and two skills, all of them well."""
    with new_folder() as folder:
        town = await open_town(Town(folder, Fleet()))
        yield town
        await town.close()


Change = Callable[[dict[str, Any]], None]


def toml() -> dict[str, Any]:
    """The settings of the fleet's root."""
    return {
        "host": {},
        "store": {},
        "bots": {"root": bot_settings("root", "root")},
        "skills": {name: skill_settings(name) for name in SKILLS},
    }


async def rows_of(
    fleet: Town, change: Change = lambda _: None, *, send: Send | None = None
) -> list[Row]:
    given = toml()
    change(given)
    read: Settings = settings(ROOT, "root", given, fleet.folder)
    return await examined(read, World(send=send or fleet.send, now=fleet.now))


def complaints(rows: list[Row]) -> dict[str, str]:
    """Code by name, of what is not well."""
    bad = (Health.FAILED, Health.WARNING)
    return {row.name: row.code for row in rows if row.health in bad}


async def test_of_a_healthy_fleet_there_is_nothing_to_say(fleet: Town) -> None:
    rows = await rows_of(fleet)

    assert complaints(rows) == {}
    assert {row.name for row in rows} >= {
        "settings",
        "credential of root",
        "token of root for channels",
        "token of root for echo",
        "pairing of root and booking",
        "signing keys of Entra",
        "skill echo for root",
        "callback address of root",
        "store",
        "clock",
        "lists of root",
    }
    assert [row.name for row in rows if row.health is Health.SKIPPED] == ["clock"]


async def test_a_healthy_fleet_is_asked_to_do_nothing(fleet: Town) -> None:
    before = {name: fleet.records("inbound", of=name) for name in SKILLS}
    await rows_of(fleet)

    assert {name: fleet.records("inbound", of=name) for name in SKILLS} == before


def with_bot(**members: Any) -> Change:
    return lambda given: given["bots"]["root"].update(members)


def with_skill(**members: Any) -> Change:
    return lambda given: given["skills"]["echo"].update(members)


def with_host(**members: Any) -> Change:
    return lambda given: given["host"].update(members)


def certificate(days: float) -> Change:
    """A certificate of our own that lasts so long; the lab does not know it."""
    made = pair(begins=time.time() - 100 * DAY, days=100 + days)
    pem = (made.pem + made.key_pem()).decode()
    return with_bot(credential={"certificate": pem})


def managed(given: dict[str, Any]) -> None:
    """The root is a managed identity."""
    bot = {"app_id": MANAGED, "tenant": TENANT, "credential": {"identity": "user-assigned"}}
    given["bots"]["root"].update(bot)


def another_skill(given: dict[str, Any]) -> None:
    """A skill of this host that nobody may call."""
    given["bots"]["other"] = bot_settings("skill", "stranger")
    given["host"]["default_bot"] = "root"


def closed_store(given: dict[str, Any]) -> None:
    given["store"]["url"] = "sqlite:////proc/nowhere/host.db"


SEEDED: dict[str, tuple[Change, str, str]] = {
    "a wrong secret": (
        with_bot(credential={"secret": "wrong"}),
        "token of root for channels",
        "token-refused",
    ),
    "an app that is not registered": (
        with_bot(app_id=UNKNOWN),
        "token of root for channels",
        "token-refused",
    ),
    "an app of another tenant": (
        with_bot(app_id=ELSEWHERE, credential={"secret": "elsewhere-secret"}),
        "token of root for channels",
        "token-refused",
    ),
    "an expired certificate": (certificate(-1), "credential of root", "credential-unusable"),
    "a certificate that expires soon": (certificate(5), "credential of root", "credential-expires"),
    "a certificate that is not uploaded": (
        certificate(300),
        "token of root for channels",
        "token-refused",
    ),
    "a skill that does not run": (
        with_skill(endpoint="http://127.0.0.1:9999/api/messages"),
        "skill echo for root",
        "skill-unreachable",
    ),
    "a skill at another path": (
        with_skill(endpoint=f"{SKILLS['echo']}/api/message"),
        "skill echo for root",
        "skill-wrong-endpoint",
    ),
    "a skill that is not registered": (
        with_skill(app_id=UNKNOWN),
        "token of root for echo",
        "token-refused",
    ),
    "a skill's app id that is another's": (
        with_skill(app_id=IDS["stranger"]),
        "skill echo for root",
        "skill-refuses-token",
    ),
    "a root that the skill does not list": (
        with_bot(app_id=IDS["stranger"], credential={"secret": "stranger-secret"}),
        "skill echo for root",
        "skill-refuses-caller",
    ),
    "a skill of one tenant": (
        with_skill(tenants=[TENANT]),
        "pairing of root and echo",
        "tenants-do-not-pair",
    ),
    "a root that is a managed identity": (
        managed,
        "pairing of root and echo",
        "managed-identity-audience",
    ),
    "a skill that is a managed identity": (
        with_skill(app_id=MANAGED),
        "token of root for echo",
        "token-refused",
    ),
    "a public address that nobody answers at": (
        with_host(public_url="http://127.0.0.1:9998"),
        "callback address of root",
        "callback-unreachable",
    ),
    "a public address that is somebody else's": (
        with_host(public_url=SKILLS["echo"]),
        "callback address of root",
        "callback-wrong-host",
    ),
    "a store that cannot be made": (closed_store, "store", "store-failed"),
    "a skill that nobody may call": (another_skill, "lists of other", "nobody-may-call"),
    "a bot that anybody may call": (
        with_bot(allowed_callers=["*"], allow_any_caller=True),
        "lists of root",
        "anybody-may-call",
    ),
    "a bot that an emulator may call": (
        with_bot(allow_emulator=True),
        "lists of root",
        "emulator-on",
    ),
    "a root without skills": (
        lambda given: given["skills"].clear(),
        "lists of root",
        "no-skills",
    ),
    "a manifest that is not there": (
        lambda given: given["skills"].update(echo={"manifest": "nowhere.json"}),
        "settings",
        "settings",
    ),
}


@pytest.mark.parametrize("fault", SEEDED)
async def test_a_seeded_fault_is_found(fleet: Town, fault: str) -> None:
    change, name, code = SEEDED[fault]
    rows = await rows_of(fleet, change)

    assert complaints(rows).get(name) == code
    assert all(row.fix for row in rows if row.health in (Health.FAILED, Health.WARNING))
    assert worst(rows) in (Health.FAILED, Health.WARNING)


async def test_there_are_enough_of_them() -> None:
    assert len(SEEDED) >= 20


# Faults of others than the settings


def dated(fleet: Town, seconds: float) -> Callable[[Request], Any]:
    """An authority whose answers carry a date."""

    async def send(request: Request) -> Response:
        answer = await fleet.send(request)
        date = formatdate(fleet.now() + seconds, usegmt=True)
        return Response(answer.status, {**answer.headers, "date": date}, answer.body)

    return send


@pytest.mark.parametrize(
    ("seconds", "health"),
    [
        (0, Health.OK),
        (-30, Health.OK),
        (120, Health.WARNING),
        (-120, Health.WARNING),
        (900, Health.FAILED),
        (-900, Health.FAILED),
    ],
)
async def test_clocks_are_compared(fleet: Town, seconds: float, health: Health) -> None:
    rows = await rows_of(fleet, send=dated(fleet, seconds))

    (clock,) = [row for row in rows if row.name == "clock"]
    assert clock.health is health


async def test_an_authority_that_is_down(fleet: Town) -> None:
    app = fleet.send.apps.pop(LAB)
    try:
        found = complaints(await rows_of(fleet))
    finally:
        fleet.send.apps[LAB] = app

    assert found["token of root for channels"] == "authority-unreachable"
    assert found["signing keys of Entra"] == "keys-unavailable"


async def test_keys_that_cannot_be_read(fleet: Town) -> None:
    async def broken(request: Request) -> Response | None:
        return Response(200, {}, b"{}") if "keys" in request.url else None

    fleet.send.faults[LAB] = broken
    try:
        found = complaints(await rows_of(fleet))
    finally:
        del fleet.send.faults[LAB]

    assert found["signing keys of the channels"] == "keys-unavailable"


async def test_a_skill_that_lets_anybody_in(fleet: Town) -> None:
    async def careless(request: Request) -> Response:
        return Response(202)

    fleet.send.faults[SKILLS["echo"]] = careless
    try:
        found = complaints(await rows_of(fleet))
    finally:
        del fleet.send.faults[SKILLS["echo"]]

    assert found["skill echo for root"] == "skill-without-authentication"


async def test_a_host_that_does_not_run_is_skipped(fleet: Town) -> None:
    rows = await rows_of(fleet, with_host(bind="127.0.0.1:9997"))

    (row,) = [row for row in rows if row.name == "callback address of root"]
    assert row.health is Health.SKIPPED


async def test_no_secret_is_in_what_is_said(fleet: Town) -> None:
    rows = await rows_of(fleet, with_bot(credential={"secret": "pa55word"}))

    assert "pa55word" not in repr(rows)


async def test_settings_that_make_no_host(fleet: Town) -> None:
    with pytest.raises(SettingsError):
        await rows_of(fleet, with_bot(app_id="nonsense"))
