"""Credentials that change while the host runs: the new one is tried, and nobody notices."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from skills_host.auth.credentials import AnyCredential, ClientSecret, credential_of
from skills_host.auth.rotation import Rotation
from skills_host.auth.tokens import TokenSource
from skills_host.errors import SettingsError
from skills_host.settings import BotSettings, Cloud, Settings
from skills_host.telemetry import Telemetry
from tests.auth.pairs import bot_pair
from tests.world import IDS, LAB, ROOT, Lab, Loopback, bot_settings, settings, until

DAY = 24 * 3600.0
NUMBERS = count()


@pytest.fixture(scope="module")
def own_lab() -> Lab:
    """A lab whose secrets may be changed."""
    return Lab()


class Host:
    """A bot whose secret is in a file, as a host has it; the lab knows the secret at first."""

    def __init__(self, folder: Path, lab: Lab) -> None:
        self.lab = lab
        self.file = folder / "secret"
        self.folder = folder
        self.send = Loopback({LAB: lab.app})
        self.give(self.registered())
        given = self.read()
        credential = self.build("root", given.bots["root"])
        self.source = TokenSource(self.send, cloud=given.cloud, credential=credential, now=self.now)
        self.rotation = Rotation(
            given,
            {"root": credential},
            sources={"root": self.source},
            build=self.build,
            reload=self.read,
            now=self.now,
            telemetry=Telemetry(),
        )

    def now(self) -> float:
        return self.lab.authority._now()

    def registered(self) -> str:
        """A new secret that the authority takes beside the one before."""
        secret = f"secret-{next(NUMBERS)}"
        self.lab.authority.change_secret(IDS["root"], secret)
        return secret

    def give(self, secret: str) -> None:
        """Put a secret into the file."""
        self.file.write_text(secret)

    def read(self) -> Settings:
        bot = bot_settings("root", "root") | {"credential": {"secret": f"@{self.file}"}}
        return settings(ROOT, "root", {"bots": {"root": bot}}, self.folder)

    def build(self, name: str, bot: BotSettings) -> AnyCredential:
        return credential_of(name, bot, cloud=Cloud(), now=self.now(), new_id=lambda: "id")

    @property
    def secret(self) -> str:
        credential = self.source._credential
        assert isinstance(credential, ClientSecret)
        return credential.secret


@pytest.fixture
def host(tmp_path: Path, own_lab: Lab) -> Host:
    return Host(tmp_path, own_lab)


async def test_a_changed_file_is_taken_up(host: Host) -> None:
    host.give(secret := host.registered())
    await host.rotation.check()

    assert host.secret == secret


async def test_tokens_that_are_held_stay(host: Host) -> None:
    token = await host.source.token(IDS["echo"])
    host.give(host.registered())
    await host.rotation.check()

    assert await host.source.token(IDS["echo"]) == token


async def test_a_secret_that_the_authority_refuses_is_not_taken(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    before = host.secret
    host.give("not-registered")
    for _ in range(3):
        await host.rotation.check()

    assert host.secret == before
    assert await host.source.token(IDS["echo"])
    assert caplog.text.count("AADSTS7000215") == 1
    assert "not-registered" not in caplog.text


async def test_a_secret_that_is_registered_later_is_taken_then(host: Host) -> None:
    host.give("early")
    await host.rotation.check()
    host.lab.authority.change_secret(IDS["root"], "early")
    await host.rotation.check()

    assert host.secret == "early"


async def test_a_file_that_is_gone_or_half_written_changes_nothing(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    before = host.secret
    host.file.unlink()
    await host.rotation.check()
    host.give("")
    await host.rotation.check()

    assert host.secret == before
    assert "cannot be read again" in caplog.text


async def test_a_file_that_did_not_change_asks_nobody(host: Host) -> None:
    for _ in range(3):
        await host.rotation.check()

    assert host.send.sent == []


async def test_a_fetch_that_the_change_overtakes_is_made_with_the_new(host: Host) -> None:
    """The old secret is gone from the authority while a token is asked for with it."""
    opened = asyncio.Event()

    async def late(_: Any) -> None:
        host.send.faults.pop(LAB)
        await opened.wait()

    host.send.faults[LAB] = late
    waiting = asyncio.create_task(host.source.token(IDS["echo"]))
    await until(lambda: bool(host.send.sent))
    host.registered()
    host.give(host.registered())
    await host.rotation.check()
    opened.set()

    assert await waiting


async def test_other_settings_are_not_taken(host: Host) -> None:
    """A bot that came, or went, needs a restart."""
    host.rotation._reload = lambda: settings(
        ROOT, "root", {"bots": {"other": bot_settings("root", "echo")}}, host.folder
    )
    before = host.secret
    await host.rotation.check()

    assert host.secret == before


async def test_a_certificate_takes_the_place_of_a_secret(host: Host) -> None:
    pem = (bot_pair().pem + bot_pair().key_pem()).decode()
    given = host.read().bots["root"].credential.model_validate({"certificate": pem})
    changed = host.read()
    bot = changed.bots["root"].model_copy(update={"credential": given})
    host.rotation._reload = lambda: changed.model_copy(update={"bots": {"root": bot}})
    before = host.secret
    await host.rotation.check()

    # The lab has no certificate for it, so that the secret stays in use.
    assert host.secret == before


async def test_settings_that_cannot_be_read_are_said_once(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> Settings:
        raise SettingsError("bots.root: broken")

    host.rotation._reload = fails
    for _ in range(3):
        await host.rotation.check()

    assert caplog.text.count("cannot be read again") == 1


@pytest.fixture
def reader() -> Iterator[InMemoryMetricReader]:
    """An OpenTelemetry SDK in this process; there can only be one."""
    made = InMemoryMetricReader()
    provider = metrics.get_meter_provider()
    if not isinstance(provider, MeterProvider):
        metrics.set_meter_provider(MeterProvider([made]))
    yield made


def test_the_expiry_of_a_certificate_is_a_metric_and_a_warning(
    tmp_path: Path,
    reader: InMemoryMetricReader,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    pem = (bot_pair().pem + bot_pair().key_pem()).decode()
    bot = bot_settings("root", "root") | {"credential": {"certificate": pem}}
    given = settings(ROOT, "root", {"bots": {"root": bot}}, tmp_path)
    ends = bot_pair().certificate.not_valid_after_utc.timestamp()
    made = credential_of(
        "root",
        given.bots["root"],
        cloud=given.cloud,
        now=ends - 40 * DAY,
        new_id=lambda: "id",
    )
    clock = [ends - 40 * DAY]
    rotation = Rotation(
        given,
        {"root": made},
        sources={},
        build=lambda *_: made,
        reload=None,
        now=lambda: clock[0],
        telemetry=Telemetry(),
    )
    for days in (40, 29, 28, 6, 0.5):
        clock[0] = ends - days * DAY
        rotation.announce()

    assert caplog.text.count("certificate expires in") == 3
    assert told(reader) == {"root": pytest.approx(DAY / 2)}


def told(reader: InMemoryMetricReader) -> dict[str, float]:
    """What the gauge says of each bot."""
    found = reader.get_metrics_data()
    assert found is not None
    (metric,) = [
        metric
        for resource in found.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "skills_host.certificate.expires_in"
    ]
    points = [p for p in metric.data.data_points if isinstance(p, NumberDataPoint)]
    return {str((point.attributes or {})["bot"]): point.value for point in points}
