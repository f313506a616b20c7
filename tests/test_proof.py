"""Bots that prove themselves with certificates, in whole worlds."""

from __future__ import annotations

import logging
import time
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import jwt
import pytest

from skills.echo import bot as echo
from skills_host.configuration import from_mapping
from skills_host.errors import SettingsError
from skills_host.lab.authority import Authority, LabApp
from skills_host.lab.service import create_lab
from tests.auth.pairs import Pair, pair
from tests.conftest import new_folder
from tests.world import IDS, LAB, ROOT, SKILLS, Lab, Town, bot_settings, skill_settings, until

NOW = time.time()
TOKEN_URL = f"{LAB}/botframework.com/oauth2/v2.0/token"
OWN = pair("echo", begins=NOW - 3600)


class LabOfCertificates(Lab):
    """A lab in which the skill is registered with its certificate and has no secret."""

    def __init__(self) -> None:
        apps = [LabApp(IDS["root"], "root-secret"), LabApp(IDS["echo"], certificate=public(OWN))]
        self.authority = Authority(apps=apps, base_url=LAB)
        self.app = create_lab(self.authority, mint_secret="mint")


def public(own: Pair) -> str:
    return own.pem.decode()


@pytest.fixture(scope="module")
def certificates() -> LabOfCertificates:
    return LabOfCertificates()


@pytest.fixture
async def town(certificates: LabOfCertificates) -> AsyncIterator[Town]:
    """No bot runs yet."""
    with new_folder() as folder:
        town = Town(folder, certificates)
        yield town
        await town.close()


async def start_echo(town: Town, own: Pair, **given: Any) -> None:
    """Start the skill with a certificate, as its settings give it."""
    credential = {"certificate": public(own), "key": own.key_pem().decode(), **given}
    table = bot_settings("skill", "echo", allowed_callers=[IDS["root"]], credential=credential)
    await town.start(SKILLS["echo"], "echo", {"bots": {"echo": table}}, {"echo": echo})


async def start_root(town: Town) -> None:
    tables = {
        "bots": {"root": bot_settings("root", "root")},
        "skills": {"echo": skill_settings("echo")},
    }
    await town.start(ROOT, "root", tables)


@pytest.mark.parametrize(
    "given",
    [{}, {"thumbprint": "sha1"}, {"send_chain": True}, {"thumbprint": "sha1", "send_chain": True}],
)
async def test_a_skill_with_a_certificate_answers(town: Town, given: dict[str, Any]) -> None:
    """Behind a root, with tokens that it got for assertions alone."""
    await start_echo(town, OWN, **given)
    await start_root(town)

    assert await town.say("echo") == ["Echo: echo"]
    forms = [form for form in asked(town) if form["client_id"] == IDS["echo"]]
    assert forms and not any("client_secret" in form for form in forms)
    for form in forms:
        claims = verified(form["client_assertion"])
        assert claims["exp"] - claims["iat"] == 600


def asked(town: Town) -> list[dict[str, str]]:
    """The forms that tokens were asked for with."""
    bodies = [request.body or b"" for request in town.send.sent if request.url == TOKEN_URL]
    return [dict(parse_qsl(body.decode())) for body in bodies]


def verified(assertion: str) -> dict[str, Any]:
    """The claims of the skill's assertion, by the library's own rules."""
    return jwt.decode(
        assertion,
        OWN.certificate.public_key(),  # type: ignore[arg-type]
        algorithms=["RS256", "PS256"],
        audience=TOKEN_URL,
        issuer=IDS["echo"],
        subject=IDS["echo"],
    )


async def test_a_certificate_that_is_not_registered_gets_no_token(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    """The user is told that the skill is not there, and the log says what the authority said."""
    await start_echo(town, pair("other", begins=NOW - 3600))
    await start_root(town)
    with caplog.at_level(logging.WARNING):
        said = await town.say("echo")

    assert "Echo: echo" not in said
    assert "invalid_client (AADSTS700027)" in caplog.text


@pytest.mark.parametrize(("days", "said"), [(40, False), (29, True), (6, True), (0.5, True)])
async def test_an_end_in_sight_is_announced(
    town: Town, caplog: pytest.LogCaptureFixture, days: float, said: bool
) -> None:
    with caplog.at_level(logging.WARNING):
        await start_echo(town, pair("echo", begins=NOW - 60, days=days))

    assert ("bots.echo: its certificate expires in" in caplog.text) == said


async def test_a_running_host_announces_it_again_when_it_gets_serious(
    town: Town, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for each step, however often it looks."""
    monkeypatch.setattr("skills_host.app.SWEEP_SECONDS", 0.001)
    town.now = lambda: NOW
    with caplog.at_level(logging.WARNING, logger="skills_host.app"):
        await start_echo(town, pair("echo", begins=NOW - 60, days=29))
        town.now = lambda: NOW + 23 * 86400
        await until(lambda: "expires in 6.0 days" in caplog.text)
        town.now = lambda: NOW + 28.5 * 86400
        await until(lambda: "expires in 0.5 days" in caplog.text)

    assert caplog.text.count("its certificate expires in") == 3


async def test_an_expired_certificate_starts_no_host(town: Town) -> None:
    with pytest.raises(SettingsError, match=r"bots\.echo\.credential\.certificate: .* has expired"):
        await start_echo(town, pair("echo", begins=NOW - 86400, days=0.5))


# The page


def test_the_pages_examples_are_sound() -> None:
    """Each way to write a credential is one that settings take."""
    page = (Path(__file__).parent.parent / "docs" / "identity.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("credential = ")]

    for line in lines:
        tenanted = bot_settings("root", "root", tenant="11111111-2222-4333-8444-555555555555")
        tables = {"bots": {"root": tenanted | tomllib.loads(line)}}
        environ = {"BOT_PFX_PASSWORD": "hush", "BOT_CERTIFICATE": public(OWN)}
        assert from_mapping(tables, environ, read_file=lambda name: b"content")
    assert len(lines) == 11
