"""From settings and manifests to skills, and to the lists of who may."""

from __future__ import annotations

from typing import Any

import pytest

from skills_host.consumer.manifest.model import Endpoint, Manifest
from skills_host.consumer.registry.compile import (
    Skill,
    is_loopback_only,
    skills_of,
    snapshot_of,
)
from skills_host.errors import SettingsError
from skills_host.settings import Delivery, Settings

ROOT = "a0000000-0000-4000-8000-000000000001"
ECHO = "b0000000-0000-4000-8000-000000000001"
CALLER = "c0000000-0000-4000-8000-000000000001"
TENANT = "d0000000-0000-4000-8000-000000000001"
LOOPBACK = "http://127.0.0.1:3979/api/messages"


def settings_of(*, host: dict[str, Any] | None = None, **skill: Any) -> Settings:
    """Settings of a root that has the skill `echo`."""
    given = {"endpoint": LOOPBACK, "app_id": ECHO} | skill
    return Settings.model_validate(
        {
            "host": {"public_url": "http://127.0.0.1:3978"} | (host or {}),
            "bots": {
                "root": {
                    "kind": "root",
                    "app_id": ROOT,
                    "credential": {"secret": "s"},
                    "allowed_callers": [CALLER],
                }
            },
            "skills": {"echo": {k: v for k, v in given.items() if v is not None}},
        }
    )


def unread(path: str) -> Manifest:
    """There is no manifest to be read."""
    raise AssertionError(path)


def manifest_at(path: str) -> Manifest:
    """The manifest at every path."""
    endpoints = (Endpoint("a", f"https://{path}/one", ECHO), Endpoint("b", "https://x/two", ROOT))
    return Manifest("echo", "Echo!", "1", "Repeats", "Us", endpoints)


def skills_from(settings: Settings) -> dict[str, Skill]:
    """The skills of settings that name no manifest."""
    return skills_of(settings, unread)


def test_a_skill_is_as_configured() -> None:
    settings = settings_of(
        title="Echo!",
        description="Repeats",
        phrases=["say"],
        tenants=[TENANT],
        delivery="expectReplies",
        seconds=5,
        texts={"ended": "bye"},
    )

    skill = skills_from(settings)["echo"]

    assert (skill.name, skill.title, skill.description) == ("echo", "Echo!", "Repeats")
    assert (skill.app_id, skill.endpoint, skill.tenants) == (ECHO, LOOPBACK, frozenset({TENANT}))
    assert (skill.phrases, skill.delivery) == (("say",), Delivery.EXPECT_REPLIES)
    assert (skill.seconds, skill.texts.ended) == (5, "bye")


def test_a_skill_without_a_title_has_its_name() -> None:
    skill = skills_from(settings_of())["echo"]

    assert (skill.title, skill.description, skill.delivery) == ("echo", "", Delivery.NORMAL)


def test_a_manifest_gives_what_is_not_configured() -> None:
    settings = settings_of(endpoint=None, app_id=None, manifest="m.example")
    skill = skills_of(settings, manifest_at)["echo"]

    assert (skill.endpoint, skill.app_id) == ("https://m.example/one", ECHO)
    assert (skill.title, skill.description) == ("Echo!", "Repeats")


def test_what_is_configured_comes_before_the_manifest() -> None:
    settings = settings_of(
        endpoint=None, app_id=None, manifest="m", title="Mine", description="My own"
    )
    skill = skills_of(settings, manifest_at)["echo"]

    assert (skill.title, skill.description) == ("Mine", "My own")


def test_the_two_lists_are_not_mixed() -> None:
    """A skill is no caller, and a caller is no skill."""
    settings = settings_of(tenants=[TENANT])
    snapshot = snapshot_of(settings, skills_from(settings))

    assert snapshot.callers_of(ROOT) == {CALLER}
    assert [skill.name for skill in snapshot.skills_of(ECHO)] == ["echo"]
    assert snapshot.skills_of(CALLER) == ()
    assert snapshot.tenants == {TENANT}


def test_a_bot_is_not_its_own_skill() -> None:
    """Its own token would be good at its own door."""
    settings = settings_of(app_id=ROOT.upper())

    with pytest.raises(SettingsError, match=r"skills\.echo: the app id is one of this host's own"):
        snapshot_of(settings, skills_from(settings))


def test_a_lab_is_all_loopback() -> None:
    assert is_loopback_only(settings_of(), skills_from(settings_of()))


@pytest.mark.parametrize(
    "settings",
    [
        settings_of(endpoint="https://skill.example/"),
        settings_of(host={"public_url": "https://root.example"}),
        settings_of(host={"bind": "0.0.0.0:3978"}),
        settings_of(host={"bind": "[::]:3978"}),
    ],
    ids=["endpoint", "public_url", "bind", "bind to all"],
)
def test_one_public_address_makes_it_public(settings: Settings) -> None:
    assert not is_loopback_only(settings, skills_from(settings))
