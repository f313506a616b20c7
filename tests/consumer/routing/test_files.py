"""Examples of a skill from files that its settings name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from skills_host.consumer.manifest.lu import LanguageText
from skills_host.consumer.manifest.readers import read_manifest
from skills_host.consumer.registry.compile import Skill, skill_of
from skills_host.consumer.routing.chain import decide
from skills_host.consumer.routing.known import KnownSkills
from skills_host.consumer.routing.route import RouteRequest
from skills_host.errors import SettingsError
from skills_host.registered import with_examples
from skills_host.routing_settings import RoutingSettings
from skills_host.settings import SkillSettings
from tests.consumer.registry.shelf import manifest

WEATHER = """# Forecast
- will it rain in {city=Rome}
- how warm is it going to be tomorrow
# Other
- order a large pizza with cheese
"""
MODELS = {
    "languages": {
        "en": [
            {"name": "w", "contentType": "application/lu", "url": "w.lu"},
            {"name": "far", "contentType": "application/lu", "url": "https://a.example/far.lu"},
        ]
    },
    "intents": ["Forecast"],
}


async def routed(skill: Skill, text: str, *, locale: str = "en-US") -> str | None:
    """The skill that the words of a message go to."""
    skills = {skill.name: skill}
    known = KnownSkills(lambda: skills, RoutingSettings())
    request = RouteRequest(text=text, locale=locale)
    return (await decide(request, await known.now())).skill


def described() -> bytes:
    """A manifest that names language files."""
    return json.dumps(manifest(dispatchModels=MODELS)).encode()


async def test_utterances_of_a_revision_route_by_its_intents_and_locale() -> None:
    """As the registry gives a skill to routing: its manifest, and the texts of its files."""
    given = SkillSettings.model_validate({"manifest": "m.json"})
    bare = skill_of("weather", given, read_manifest(described(), source="m.json"))
    skill = replace(bare, languages={"en": (LanguageText(WEATHER),)})

    assert await routed(skill, "will it rain in Paris") == "weather"
    assert await routed(skill, "order a large pizza with cheese") is None
    assert await routed(skill, "will it rain in Paris", locale="de") is None
    assert await routed(bare, "will it rain in Paris") is None


@pytest.mark.parametrize(
    ("given", "asked", "routes"),
    [
        *[("en-us", "en", True), ("en", "en-US", True), ("en_US", "en-GB", True)],
        *[("", "de-DE", True), ("en-us", "", True), ("en-us", "de", False), ("en", "enm", False)],
    ],
)
async def test_regions_of_a_language_understand_each_other(
    given: str, asked: str, routes: bool
) -> None:
    settings = SkillSettings.model_validate({"manifest": "m.json"})
    bare = skill_of("weather", settings, read_manifest(described(), source="m.json"))
    skill = replace(bare, languages={given: (LanguageText(WEATHER),)})

    assert (await routed(skill, "will it rain in Rome", locale=asked) == "weather") is routes


async def test_files_beside_a_configured_manifest_route(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is not beside it is told, and not fetched."""
    (tmp_path / "w.lu").write_text(WEATHER)
    (tmp_path / "m.json").write_bytes(described())
    path = str(tmp_path / "m.json")
    given = with_examples(SkillSettings.model_validate({"manifest": path}))
    skill = skill_of("weather", given, read_manifest(described(), source=path))

    assert given.examples == {"en": ("will it rain in Rome", "how warm is it going to be tomorrow")}
    assert await routed(skill, "will it rain in Paris") == "weather"
    assert "did not come with the manifest: https://a.example/far.lu" in caplog.text


def test_too_many_files_beside_a_configured_manifest_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.lu").write_text("# X\n- x")
    models = [{"name": f"w{n}", "contentType": "application/lu", "url": "w.lu"} for n in range(51)]
    (tmp_path / "m.json").write_text(
        json.dumps(manifest(dispatchModels={"languages": {"": models}}))
    )

    with pytest.raises(SettingsError, match=r"m\.json: .* more than 50 files"):
        with_examples(SkillSettings.model_validate({"manifest": str(tmp_path / "m.json")}))


def test_examples_come_from_files(tmp_path: Path) -> None:
    """After those that are written down; each kind of file is read in its own way."""
    (tmp_path / "a.lu").write_text("# Forecast\n- will it rain in {city=Rome}\n")
    (tmp_path / "b.txt").write_text("is it cold\n")
    given = SkillSettings.model_validate(
        {
            "endpoint": "https://skill.example/",
            "app_id": "a0000000-0000-4000-8000-000000000001",
            "examples": ["what a day"],
            "example_files": [str(tmp_path / "a.lu"), str(tmp_path / "b.txt")],
        }
    )
    found = with_examples(given)

    assert found.examples == {"": ("what a day", "will it rain in Rome", "is it cold")}
    assert found.example_files == ()
