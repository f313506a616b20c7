"""The shape of the configuration: what is refused by name, what is hidden, what cannot change."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from skills_host.settings import (
    CLOUDS,
    BotSettings,
    Cloud,
    Settings,
    SkillSettings,
    canonical_app_id,
)

APP_ID = "a0000000-0000-4000-8000-000000000001"
BOT: dict[str, Any] = {"kind": "root", "app_id": APP_ID, "credential": {"secret": "hush-hush"}}
SKILL = {"endpoint": "https://skill.example/api/messages", "app_id": APP_ID}


def faults(kind: type[Any], members: dict[str, Any]) -> str:
    """What is wrong with a table: places and reasons."""
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(members)
    return "; ".join(
        f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in caught.value.errors()
    )


# App ids


@pytest.mark.parametrize("written", [APP_ID.upper(), f"{{{APP_ID}}}", APP_ID.replace("-", "")])
def test_an_app_id_has_one_spelling(written: str) -> None:
    assert canonical_app_id(written) == APP_ID


@pytest.mark.parametrize("written", ["", "root", APP_ID[:-1], f"{APP_ID}, {APP_ID}", None, 5])
def test_what_is_no_app_id_is_refused(written: object) -> None:
    assert "app_id" in faults(BotSettings, BOT | {"app_id": written})


def test_an_app_id_of_zeros_is_refused() -> None:
    """Templates have it."""
    zeros = "00000000-0000-0000-0000-000000000000"

    assert "app_id: Value error, an app id of zeros" in faults(BotSettings, BOT | {"app_id": zeros})
    assert "zeros" in faults(BotSettings, BOT | {"allowed_callers": [zeros]})


# Bots


@pytest.mark.parametrize("name", ["kind", "app_id", "credential"])
def test_a_missing_setting_is_named(name: str) -> None:
    members = {key: value for key, value in BOT.items() if key != name}

    assert faults(BotSettings, members) == f"{name}: Field required"


def test_an_unknown_key_is_refused() -> None:
    assert "allowed_caller: Extra" in faults(BotSettings, BOT | {"allowed_caller": [APP_ID]})


@pytest.mark.parametrize("secret", ["", None, 5])
def test_an_empty_secret_is_refused(secret: object) -> None:
    assert "credential" in faults(BotSettings, BOT | {"credential": {"secret": secret}})


@pytest.mark.parametrize("given", [APP_ID, f"{APP_ID},{APP_ID}", "*", "", {APP_ID: 1}, None])
def test_a_list_is_not_given_as_text(given: object) -> None:
    """A string would be searched for app ids as parts of it."""
    assert "allowed_callers" in faults(BotSettings, BOT | {"allowed_callers": given})


@pytest.mark.parametrize("given", [["*"], [APP_ID, "*"]])
def test_anybody_is_allowed_only_by_name(given: list[str]) -> None:
    assert "allow_any_caller" in faults(BotSettings, BOT | {"allowed_callers": given})


def test_allowing_anybody_needs_the_star_too() -> None:
    assert "allow_any_caller" in faults(BotSettings, BOT | {"allow_any_caller": True})


def test_anybody_may_be_allowed() -> None:
    bot = BotSettings.model_validate(BOT | {"allowed_callers": ["*"], "allow_any_caller": True})

    assert bot.allowed_callers == ("*",)


def test_nobody_is_allowed_unless_said() -> None:
    """Whether the list is left out or empty."""
    assert BotSettings.model_validate(BOT).allowed_callers == ()
    assert BotSettings.model_validate(BOT | {"allowed_callers": []}).allowed_callers == ()


def test_a_kind_is_root_or_skill() -> None:
    assert "kind" in faults(BotSettings, BOT | {"kind": "bot"})


# Credentials

KINDS: dict[str, tuple[dict[str, Any], str]] = {
    "none": ({}, "give secret, certificate or identity"),
    "two kinds": ({"secret": "s", "certificate": "c"}, "give either secret or certificate, not"),
    "a secret and a key": ({"secret": "s", "key": "k"}, "give either secret or key, not both"),
    "a secret and a thumbprint": (
        {"secret": "s", "thumbprint": "sha1"},
        "give either secret or thumbprint, not both",
    ),
    "a secret and a password": (
        {"secret": "s", "password": "p"},
        "give either secret or password, not both",
    ),
    "an empty certificate": ({"certificate": ""}, "the certificate is empty"),
    "an empty key": ({"certificate": "c", "key": ""}, "the key is empty"),
    "a key alone": ({"key": "k"}, "a key alone needs its certificate, or thumbprint in hex"),
    "a key without certificate to send": (
        {"key": "k", "thumbprint": "AB" * 20, "send_chain": True},
        "send_chain needs certificate",
    ),
    "a thumbprint alone": ({"thumbprint": "AB" * 20}, "give secret, certificate or identity"),
    "an identity and a secret": (
        {"identity": "external", "secret": "s"},
        "identity external has no secret",
    ),
    "a managed identity with the client id of a federated one": (
        {"identity": "user-assigned", "client_id": "b" * 32},
        "identity user-assigned has no client_id",
    ),
    "a client id alone": ({"secret": "s", "client_id": "b" * 32}, "need identity"),
    "a token file alone": ({"token_file": "f"}, "need identity"),
    "an unknown identity": ({"identity": "managed"}, "identity"),
    "a managed identity without a tenant": (
        {"identity": "system-assigned"},
        "needs the tenant that it belongs to",
    ),
    "a thumbprint of odd length": (
        {"certificate": "c", "thumbprint": "AB" * 19},
        "expected sha256, sha1, or",
    ),
    "an unknown digest": ({"certificate": "c", "thumbprint": "md5"}, "expected sha256, sha1, or"),
    "an unknown member": ({"secret": "s", "cert": "c"}, "Extra"),
}


@pytest.mark.parametrize("reason", KINDS)
def test_a_credential_is_refused_for(reason: str) -> None:
    given, said = KINDS[reason]

    assert said in faults(BotSettings, BOT | {"credential": given})


@pytest.mark.parametrize("written", ["ab" * 32, "AB:" * 31 + "ab", "\u200eab" + " ab" * 31])
def test_a_thumbprint_has_one_spelling(written: str) -> None:
    """It is copied from tools that write it in their own ways."""
    given = {"key": "k", "thumbprint": written}
    bot = BotSettings.model_validate(BOT | {"credential": given})

    assert bot.credential.thumbprint == "AB" * 32


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        *["http://skill.example/", "http://10.0.0.1/", "https://user@skill.example/"],
        *["https://user:pw@skill.example/", "ftp://skill.example/", "skill.example", "/api", ""],
        *[
            "https:///api",
            "https://[::1/",
            "https://skill.example:99999/",
            "https://skill.example:x/",
        ],
        *[
            "https://skill .example/",
            "https://skill\n.example/",
            "https://skill.example\\@evil.example/",
        ],
        *["javascript:alert(1)", "http://127.0.0.1.example.org/", "https://<tunnel>/api/messages "],
    ],
)
def test_an_unsafe_address_is_refused(url: str) -> None:
    assert "endpoint" in faults(SkillSettings, SKILL | {"endpoint": url})


@pytest.mark.parametrize(
    "url",
    [
        *[
            "https://skill.example/api/messages",
            "HTTPS://skill.example",
            "https://10.0.0.1:8443/x?y=z",
        ],
        *["http://127.0.0.1:3979/api/messages", "http://localhost:80", "http://[::1]:3979/"],
        "http://skill.localhost/api/messages",
    ],
)
def test_a_safe_address_is_kept_as_it_is(url: str) -> None:
    assert SkillSettings.model_validate(SKILL | {"endpoint": url}).endpoint == url


# Skills


@pytest.mark.parametrize(
    "members",
    [
        *[{}, {"endpoint": SKILL["endpoint"]}, {"app_id": APP_ID}, SKILL | {"manifest": "a.json"}],
        {"manifest": "a.json", "endpoint": SKILL["endpoint"]},
        {"manifest": "a.json", "app_id": APP_ID},
    ],
)
def test_a_skill_has_one_source(members: dict[str, Any]) -> None:
    assert "either manifest" in faults(SkillSettings, members)


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), "soon"])
def test_every_wait_ends(seconds: object) -> None:
    assert "seconds" in faults(SkillSettings, SKILL | {"seconds": seconds})
    assert "seconds" in faults(Settings, {"host": {"limits": {"skill_seconds": seconds}}})


def test_a_delivery_is_one_that_we_speak() -> None:
    assert "delivery" in faults(SkillSettings, SKILL | {"delivery": "pigeon"})


# Routing


def test_routing_is_closed_to_nothing_by_default() -> None:
    """A skill without grants is everyone's, keeps the floor, and is told nothing of a decision."""
    skill = SkillSettings.model_validate(SKILL)

    assert (skill.interruption, skill.context, skill.grants) == ("never", (), ())
    assert skill.accepts is None


@pytest.mark.parametrize("examples", [["what a day"], {"": ["what a day"]}])
def test_examples_are_a_list_or_by_locale(examples: object) -> None:
    skill = SkillSettings.model_validate(SKILL | {"examples": examples})

    assert skill.examples == {"": ("what a day",)}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("aliases", ["two words"]), ("aliases", ["x" * 65]), ("patterns", ["x" * 501])],
        *[("patterns", ["x"] * 101), ("examples", [""]), ("examples", {"en": ["x" * 501]})],
        *[("interruption", "maybe"), ("max_turns", 0), ("context", ["history"])],
        *[("grants", [{"tenants": ["contoso"]}]), ("grants", [{"groups": ["x"]}])],
    ],
)
def test_what_routing_does_not_know_is_refused(name: str, value: object) -> None:
    assert name in faults(SkillSettings, SKILL | {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("threshold", 1.1), ("engine", "magic"), ("margin", -1)],
    ],
)
def test_how_examples_decide_is_bounded(name: str, value: object) -> None:
    assert name in faults(Settings, {"routing": {"examples": {name: value}}})


@pytest.mark.parametrize(
    ("name", "value"),
    [("url", "http://models.example/v1"), ("seconds", 31), ("candidates", 1000)],
)
def test_a_language_model_is_bounded(name: str, value: object) -> None:
    model = {"url": "https://models.example/v1", "model": "small", name: value}

    assert name in faults(Settings, {"routing": {"model": model}})


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        *[("de", {"switch": ["wechsle"]}), ("de", {"switch": ["{skill}"]}), ("de", {"leave": []})],
        *[("d", {}), ("de_CH", {}), ("de", {"cancel": "abbrechen"}), ("de", {"cancel": [""]})],
    ],
)
def test_reserved_words_are_lists_by_language(tag: str, value: dict[str, Any]) -> None:
    assert "words" in faults(Settings, {"routing": {"words": {tag: value}}})


# Values


def test_secrets_are_not_shown() -> None:
    settings = Settings.model_validate(
        {"host": {"keys": ["key-key"]}, "bots": {"root": BOT}, "skills": {"echo": SKILL}}
    )
    hidden = {"certificate": "hush-c", "key": "hush-k", "password": "hush-p"}
    with_certificate = BotSettings.model_validate(BOT | {"credential": hidden})

    assert "hush" not in f"{with_certificate!r} {with_certificate.model_dump()}"
    shown = f"{settings!r} {settings} {settings.bots} {settings.model_dump()}"
    assert "hush" not in shown
    assert "key-key" not in shown
    assert settings.bots["root"].credential.revealed("secret") == "hush-hush"


def test_a_fault_never_shows_what_was_given() -> None:
    with pytest.raises(ValidationError) as caught:
        BotSettings.model_validate(BOT | {"credential": "hush-hush"})

    assert "hush" not in str(caught.value)


def test_settings_cannot_be_changed() -> None:
    settings = Settings.model_validate({"bots": {"root": BOT}})

    with pytest.raises(ValidationError):
        settings.host = settings.host
    with pytest.raises(ValidationError):
        settings.bots["root"].allowed_callers = ("*",)
    for table in (settings.bots, settings.skills, Settings().bots, CLOUDS):
        with pytest.raises(TypeError):
            table["new"] = None  # type: ignore[index]


def test_settings_can_be_written_out() -> None:
    """Warnings are errors here."""
    settings = Settings.model_validate({"bots": {"root": BOT}, "skills": {"echo": SKILL}})

    assert settings.model_dump()["skills"]["echo"]["endpoint"] == SKILL["endpoint"]


@pytest.mark.parametrize("name", CLOUDS)
def test_a_cloud_is_addressed_by_https(name: str) -> None:
    cloud = CLOUDS[name]
    urls = [cloud.login_url, cloud.channel_metadata, cloud.entra_metadata, cloud.channel_scope]

    assert all(url.startswith("https://") for url in urls)
    assert all("{tid}" in issuer for issuer in cloud.issuers)


def test_clouds_share_no_issuer_of_their_own() -> None:
    """But for the version 1 issuer, which is the same everywhere and counts by tenant."""
    public, usgov, china = (CLOUDS[name] for name in ("public", "usgov", "china"))

    assert set(public.issuers) & set(usgov.issuers) == {"https://sts.windows.net/{tid}/"}
    assert not set(china.issuers) & {*public.issuers, *usgov.issuers}
    assert len({cloud.channel_issuer for cloud in CLOUDS.values()}) == len(CLOUDS)
    assert len({cloud.channel_scope for cloud in CLOUDS.values()}) == len(CLOUDS)


@pytest.mark.parametrize(
    "issuers",
    [[], ["https://sts.windows.net/"], ["https://x.example/{tid}/", "https://x.example/{TID}/"]]
    + [["https://x.example/{tid}/{tid}"], ["https://x.example/*/"]],
)
def test_an_issuer_without_a_tenant_is_refused(issuers: list[str]) -> None:
    """It would stand for every tenant at once."""
    assert "issuers: Value error, each issuer" in faults(Cloud, {"issuers": issuers})


# Coordination


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1",
        "redis://127.0.0.1:6379/2",
        "rediss://ann:hush-hush@cache.example:6380/",
        "redis://[::1]:6379/0",
    ],
)
def test_the_address_of_a_redis_is_taken_and_hidden(url: str) -> None:
    given = Settings.model_validate({"coordination": {"url": url}}).coordination

    assert given.url is not None and given.url.get_secret_value() == url
    assert "hush-hush" not in f"{given!r}{given.model_dump_json()}"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:6379",
        "http://:hush-hush@127.0.0.1:6379",
        "redis://:hush-hush@",
        "redis://:hush-hush@127.0.0.1:port",
        "redis://:hush-hush@127.0.0.1:0",
        "redis://:hush-hush@127.0.0.1/first",
        "redis://:hush-hush@127.0.0.1/0/1",
        "redis://[hush-hush",
        "rediss://:hush-hush@127.0.0.1/0?ssl_cert_reqs=none",
        "redis://:hush-hush@127.0.0.1/0#1",
    ],
)
def test_what_is_no_address_of_a_redis_is_refused_unseen(url: str) -> None:
    told = faults(Settings, {"coordination": {"url": url}})

    assert told.startswith("coordination.url: ")
    assert "hush-hush" not in told


@pytest.mark.parametrize("prefix", ["", "a b", "x" * 65, "é", "a\n"])
def test_a_prefix_has_a_sound_form(prefix: str) -> None:
    assert "coordination.prefix" in faults(Settings, {"coordination": {"prefix": prefix}})
