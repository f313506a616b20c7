"""`/manifests/NAME.json`: each bot's own, filled in, public, and asked for again cheaply."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from quart import Quart

from skills_host import Bot
from skills_host.app import create_app
from skills_host.cli.run import with_manifest
from skills_host.configured import served_manifests
from skills_host.consumer.manifest.readers import read
from skills_host.errors import SettingsError
from skills_host.settings import Settings
from skills_host.web.guard import answer_errors
from skills_host.web.manifests import manifests
from tests.world import IDS, bot_settings, settings

BASE = "http://127.0.0.1:3979"
TEMPLATES = Path(__file__).parents[2] / "manifests"
ECHO = str(TEMPLATES / "echo.json")


def settings_with(folder: Path, **bot: Any) -> Settings:
    """A host with two skills, echo by default."""
    tables = {
        "echo": bot_settings("skill", "echo", allowed_callers=[], **bot),
        "booking": bot_settings("skill", "booking", allowed_callers=[], **bot),
    }
    return settings(BASE, "echo", {"bots": tables, "host": {"default_bot": "echo"}}, folder)


@pytest.fixture
def app(tmp_path: Path) -> Quart:
    """A host whose doors are open without being started: no manifest needs the store."""
    app = Quart("test")
    answer_errors(app, lambda *_: None)
    app.register_blueprint(manifests(served_manifests(settings_with(tmp_path, manifest=ECHO))))
    return app


async def test_a_manifest_has_the_real_address_and_app_id(app: Quart) -> None:
    client = app.test_client()
    answer, other = [await client.get(f"/manifests/{name}.json") for name in ("echo", "booking")]

    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    manifest = read(await answer.get_data(as_text=False), dev=True).manifest
    assert manifest is not None
    (endpoint,) = manifest.endpoints
    assert (endpoint.url, endpoint.app_id) == (f"{BASE}/api/messages", IDS["echo"])
    (named,) = json.loads(await other.get_data())["endpoints"]
    assert named["endpointUrl"] == f"{BASE}/bots/booking/api/messages"


async def test_a_head_and_a_tag_spare_the_body(app: Quart) -> None:
    client = app.test_client()
    whole = await client.get("/manifests/echo.json")
    head = await client.head("/manifests/echo.json")
    tag = whole.headers["ETag"]

    # Servers leave out the body of an answer to HEAD.
    assert (head.status_code, head.headers["ETag"]) == (200, tag)
    assert head.headers["Content-Length"] == whole.headers["Content-Length"]
    for known, status in ((tag, 304), (f'W/{tag}, "x"', 304), ("*", 304), ('"x"', 200)):
        again = await client.get("/manifests/echo.json", headers={"If-None-Match": known})
        assert (again.status_code, again.headers["ETag"]) == (status, tag)
        assert bool(await again.get_data()) == (status == 200)


@pytest.mark.parametrize("path", ["other.json", "echo", "../echo.json", "echo.json/x"])
async def test_nothing_else_is_served(app: Quart, path: str) -> None:
    assert (await app.test_client().get(f"/manifests/{path}")).status_code == 404


def test_a_manifest_that_is_not_valid_when_filled_in_keeps_the_host_from_starting(
    tmp_path: Path,
) -> None:
    bad = tmp_path / "bad.json"
    for text, said in (("{}", "SKM205"), ('"${secret}"', "no value for secret"), (None, "No such")):
        if text is None:
            bad.unlink()
        else:
            bad.write_text(text)
        with pytest.raises(SettingsError, match=said):
            create_app(settings_with(tmp_path, manifest=str(bad)), bots={"echo": Bot()})


def test_the_manifest_by_a_bots_file_is_found(tmp_path: Path) -> None:
    skills = tmp_path / "skills"
    for folder in (skills, tmp_path / "manifests"):
        folder.mkdir()
    (tmp_path / "manifests" / "echo.json").write_text("{}")
    given = settings_with(tmp_path)

    found = with_manifest(given, "echo", skills / "echo.py")

    assert found.bots["echo"].manifest == str(tmp_path / "manifests" / "echo.json")
    assert found.bots["booking"].manifest is None
    assert with_manifest(given, "echo", skills / "other.py") is given
    named = settings_with(tmp_path, manifest="mine.json")
    assert with_manifest(named, "echo", skills / "echo.py") is named
