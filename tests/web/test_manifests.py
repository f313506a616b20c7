"""`/manifests/NAME.json`: each bot's own, filled in, public, and asked for again cheaply; with the
language files beside it."""

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


def served_by(settings: Settings) -> Quart:
    """The doors of a host with these settings."""
    app = Quart("test")
    answer_errors(app, lambda *_: None)
    app.register_blueprint(manifests(served_manifests(settings)))
    return app


@pytest.fixture
def app(tmp_path: Path) -> Quart:
    """A host whose doors are open without being started: no manifest needs the store."""
    return served_by(settings_with(tmp_path, manifest=ECHO))


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


def naming(folder: Path, *urls: str, name: str = "echo.json") -> str:
    """A template in a folder that names language files."""
    folder.mkdir(exist_ok=True)
    models = [{"name": "e", "contentType": "application/lu", "url": url} for url in urls]
    template = json.loads(Path(ECHO).read_text())
    template["dispatchModels"] = {"languages": {"en": models}}
    (folder / name).write_text(json.dumps(template))
    return str(folder / name)


async def test_language_files_that_a_manifest_leads_to_are_served_beside_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it names them by themselves or in full; empty ones too. What is missing is told."""
    named = [
        "e.lu",
        "${baseUrl}/manifests/full.lu",
        "./dot.lu",
        "none.lu",
        "https://a.example/x.lu",
    ]
    path = naming(tmp_path, *named)
    (tmp_path / "e.lu").write_text("[import](more.lu)\n[import](list.txt)\n# Écho\n- hi")
    for name in ("full.lu", "dot.lu", "more.lu", "list.txt"):
        (tmp_path / name).write_text("")
    client = served_by(settings_with(tmp_path, manifest=path)).test_client()
    got = await client.get("/manifests/e.lu")
    tag = got.headers["ETag"]
    again = await client.get("/manifests/e.lu", headers={"If-None-Match": tag})
    others = ["full.lu", "dot.lu", "more.lu", "list.txt"]
    kinds = [(await client.get(f"/manifests/{name}")).headers["Content-Type"] for name in others]

    assert await got.get_data(as_text=False) == (tmp_path / "e.lu").read_bytes()
    assert {got.headers["Content-Type"], *kinds} == {"text/plain; charset=utf-8"}
    assert (again.status_code, await again.get_data()) == (304, b"")
    assert "did not come with the manifest: none.lu" in caplog.text
    assert "a.example" not in caplog.text


async def test_files_that_a_manifest_does_not_name_are_not_served(tmp_path: Path) -> None:
    path = naming(tmp_path, "e.lu")
    for name in ("e.lu", "other.lu", "secret.txt"):
        (tmp_path / name).write_text("# Echo\n- hi")
    client = served_by(settings_with(tmp_path, manifest=path)).test_client()

    assert (await client.get("/manifests/e.lu")).status_code == 200
    for name in ("other.lu", "secret.txt", "skills-host.toml"):
        assert (await client.get(f"/manifests/{name}")).status_code == 404


def test_files_of_other_kinds_and_of_folders_within_are_not_served(tmp_path: Path) -> None:
    """Not even where a manifest names them as language files."""
    named = ["skills-host.toml", ".env", "inner/e.lu", "bot.py", "e.lu.key"]
    (tmp_path / "inner").mkdir()
    for name in named:
        (tmp_path / name).write_text("# Echo\n- hi")
    given = settings_with(tmp_path, manifest=naming(tmp_path, *named))

    assert set(served_manifests(given)) == {"echo.json", "booking.json"}


async def test_files_outside_of_a_manifests_folder_are_not_served(tmp_path: Path) -> None:
    """By no name in it or in what it leads to, by no link, and by no address."""
    outside = tmp_path / "secret.lu"
    outside.write_text("# Secret\n- word")
    ways = ["../secret.lu", str(outside), f"file://{outside}", "%2e%2e/secret.lu", "link.lu"]
    path = naming(tmp_path / "inner", "e.lu", *ways)
    imports = "".join(f"[import]({way})\n" for way in ways)
    (tmp_path / "inner" / "e.lu").write_text(imports + "# Echo\n- hi")
    (tmp_path / "inner" / "link.lu").symlink_to(outside)
    given = settings_with(tmp_path, manifest=path)
    client = served_by(given).test_client()
    asked = [*ways, "secret.lu", "..%2fsecret.lu", "e.lu/../../secret.lu", "..%5csecret.lu"]

    assert set(served_manifests(given)) == {"echo.json", "booking.json", "e.lu"}
    for way in asked:
        assert (await client.get(f"/manifests/{way}")).status_code == 404


def test_two_language_files_of_one_name_keep_the_host_from_starting(tmp_path: Path) -> None:
    given = settings_with(tmp_path)
    bots = {}
    for name, said in (("echo", "hi"), ("booking", "book")):
        path = naming(tmp_path / name, "e.lu")
        (tmp_path / name / "e.lu").write_text(f"# {name}\n- {said}")
        bots[name] = given.bots[name].model_copy(update={"manifest": path})

    with pytest.raises(SettingsError, match=r"bots\.\w+\.manifest: another bot's e\.lu is served"):
        served_manifests(given.model_copy(update={"bots": bots}))


def test_a_language_file_that_is_too_large_keeps_the_host_from_starting(tmp_path: Path) -> None:
    path = naming(tmp_path, "e.lu")
    (tmp_path / "e.lu").write_bytes(b" " * (2 * 1024 * 1024 + 1))

    with pytest.raises(SettingsError, match=r"e\.lu: File too large"):
        served_manifests(settings_with(tmp_path, manifest=path))


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
