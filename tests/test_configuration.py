"""Where settings come from: file, environment, secret files; what wins, and every refusal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from skills_host.configuration import from_mapping, load_settings
from skills_host.errors import SettingsError
from skills_host.settings import CLOUDS, Credential, Settings

APP_ID = "a0000000-0000-4000-8000-000000000001"
OTHER = "b0000000-0000-4000-8000-000000000001"
BOT = {"kind": "root", "app_id": APP_ID, "credential": {"secret": "hush-hush"}}
SKILL = {"endpoint": "https://skill.example/api/messages", "app_id": OTHER}
ROOT = "SKILLS_HOST__BOTS__ROOT__"


def settings_of(
    toml: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None, **more: Any
) -> Settings:
    """Settings of a sound host with one root, and what is added."""
    return from_mapping({"bots": {"root": BOT}} | dict(toml or {}), environ or {}, **more)


def fault(toml: Mapping[str, Any], environ: Mapping[str, str] | None = None, **more: Any) -> str:
    """The one message that a host is refused with."""
    with pytest.raises(SettingsError) as caught:
        settings_of(toml, environ, **more)
    assert caught.value.code == "settings"
    return str(caught.value)


def bot(**changes: Any) -> dict[str, Any]:
    """The bots of a host whose only bot differs."""
    return {"bots": {"root": {k: v for k, v in (BOT | changes).items() if v is not None}}}


# Refusals


@pytest.mark.parametrize(
    ("toml", "named"),
    [
        ({"hots": {}}, "hots: Extra"),
        ({"host": {"bnid": "x"}}, "host.bnid: Extra"),
        ({"host": {"limits": {"body_byte": 1}}}, "host.limits.body_byte: Extra"),
        ({"cloud": {"login": "x"}}, "cloud.login: Extra"),
        (bot(secret="x"), "bots.root.secret: Extra"),
        ({"skills": {"echo": SKILL | {"url": "x"}}}, "skills.echo.url: Extra"),
        (bot(app_id=None), "bots.root.app_id: Field required"),
        (bot(app_id="root"), "bots.root.app_id: badly formed"),
        (
            bot(app_id="00000000-0000-0000-0000-000000000000"),
            "bots.root.app_id: an app id of zeros",
        ),
        (bot(credential=None), "bots.root.credential: Field required"),
        (bot(credential={}), "bots.root.credential: give secret, certificate or identity"),
        (bot(credential={"secret": ""}), "bots.root.credential: the secret is empty"),
        (bot(credential={"secret": "${NOT_SET}"}), "bots.root.credential.secret: the environment"),
        (bot(allowed_callers=OTHER), "bots.root.allowed_callers: Input should be a valid tuple"),
        (bot(allowed_callers=["*"]), "bots.root: allowed_callers"),
        (bot(allowed_callers=[OTHER, "x"]), "bots.root.allowed_callers.1: badly formed"),
        (bot(kind="bot"), "bots.root.kind: "),
        ({"bots": {}}, "bots: no bot"),
        ({"bots": {"Root": BOT}}, "bots.Root: a name is"),
        ({"bots": {"a/b": BOT}}, "bots.a/b: a name is"),
        ({"bots": {"-": BOT}}, "bots.-: a name is"),
        ({"bots": {"x" * 64: BOT}}, "a name is"),
        ({"skills": {"": SKILL}}, "skills.: a name is"),
        ({"skills": {"my skill": SKILL}}, "skills.my skill: a name is"),
        ({"skills": {"echo": {}}}, "skills.echo: give either"),
        ({"skills": {"echo": SKILL | {"manifest": "a.json"}}}, "skills.echo: give either"),
        ({"skills": {"echo": {"manifest": "https://x.example/m"}}}, "skills.echo.manifest: "),
        ({"skills": {"echo": SKILL | {"endpoint": "http://x.example"}}}, "skills.echo.endpoint: "),
        ({"host": {"default_bot": "other"}}, "host.default_bot: name one"),
        ({"host": {"default_bot": 5}}, "host.default_bot: "),
        ({"bots": {"a": BOT, "b": BOT}}, "host.default_bot: name one"),
        ({"host": {"public_url": "http://root.example"}}, "host.public_url: expected https"),
        ({"cloud": {"preset": "moon"}}, "cloud.preset: one of public, usgov, china"),
        ({"cloud": "moon"}, "cloud.preset: one of public, usgov, china"),
        ({"cloud": {"preset": ["public"]}}, "cloud.preset: one of public, usgov"),
        ({"cloud": {"issuers": ["https://x.example/"]}}, "cloud.issuers: each issuer is"),
        ({"cloud": {"entra_metadata": "http://x.example"}}, "cloud.entra_metadata: "),
    ],
)
def test_a_fault_is_named(toml: dict[str, Any], named: str) -> None:
    assert named in fault(toml)


@pytest.mark.parametrize("value", [5, "x", ["x"], True, None])
@pytest.mark.parametrize("table", ["host", "bots", "skills", "store", "cloud", "bots.root"])
def test_what_is_no_table_is_refused(table: str, value: object) -> None:
    """By its name, whatever else looks into it."""
    toml = {"bots": {"root": value}} if table == "bots.root" else {table: value}

    assert fault(toml, {"MicrosoftAppId": APP_ID}).startswith(table)


@pytest.mark.parametrize(
    "bind",
    ["127.0.0.1", "3978", ":3978", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "::1:3978"]
    + ["127.0.0.1:²", "127.0.0.1:-1", "127.0.0.1 :3978", "http://127.0.0.1:3978", "[::1]", ""],
)
def test_a_bind_is_host_and_port(bind: str) -> None:
    assert fault({"host": {"bind": bind}}) == "host.bind: expected HOST:PORT"


@pytest.mark.parametrize("bind", ["0.0.0.0:3978", "[::]:3978", "root.example:80", "10.0.0.1:80"])
def test_a_public_bind_needs_a_public_url(bind: str) -> None:
    host = {"bind": bind, "public_url": "https://root.example/bots"}

    assert "host.public_url: needed" in fault({"host": {"bind": bind}})
    assert settings_of({"host": host}).host.public_url == "https://root.example/bots"


@pytest.mark.parametrize("bind", ["127.0.0.1:3978", "localhost:80", "[::1]:3978"])
def test_a_loopback_bind_is_its_own_address(bind: str) -> None:
    assert settings_of({"host": {"bind": bind}}).host.public_url == f"http://{bind}"


# Defaults


def test_the_only_bot_is_the_default_bot() -> None:
    settings = settings_of()

    assert settings.default_bot == "root"
    assert settings.store.url == "sqlite:///.skills-host/root.db"


def test_the_default_bot_can_be_named() -> None:
    settings = settings_of(
        {"bots": {"a": BOT, "b": BOT | {"app_id": OTHER}}, "host": {"default_bot": "b"}}
    )

    assert (settings.default_bot, settings.store.url) == ("b", "sqlite:///.skills-host/b.db")


def test_the_given_tables_are_not_changed() -> None:
    toml: dict[str, Any] = {"bots": {"root": dict(BOT)}}

    from_mapping(toml, {"MicrosoftAppTenantId": OTHER, f"{ROOT}KIND": "skill"})

    assert toml == {"bots": {"root": BOT}}


# Clouds


@pytest.mark.parametrize("given", ["usgov", {"preset": "usgov"}])
def test_a_preset_names_a_cloud(given: object) -> None:
    assert settings_of({"cloud": given}).cloud == CLOUDS["usgov"]
    assert settings_of({"cloud": "china"}).cloud == CLOUDS["china"]


def test_without_a_preset_it_is_the_public_cloud() -> None:
    assert settings_of().cloud == CLOUDS["public"]


def test_a_preset_can_be_overridden() -> None:
    cloud = settings_of({"cloud": {"preset": "usgov", "login_tenant": "mine"}}).cloud

    assert cloud == CLOUDS["usgov"].model_copy(update={"login_tenant": "mine"})


def test_a_lab_takes_the_place_of_three_addresses() -> None:
    """Its issuers are those of the cloud that it stands in for."""
    cloud = settings_of({"cloud": {"lab": "http://127.0.0.1:3979/"}}).cloud

    assert cloud.login_url == "http://127.0.0.1:3979"
    assert cloud.entra_metadata.startswith("http://127.0.0.1:3979/common/")
    assert cloud.channel_metadata.startswith("http://127.0.0.1:3979/v1/")
    assert cloud.issuers == CLOUDS["public"].issuers


@pytest.mark.parametrize("lab", ["https://lab.example", "3979", 3979, ""])
def test_a_lab_is_on_loopback(lab: object) -> None:
    """Nothing else may be believed as one."""
    assert fault({"cloud": {"lab": lab}}).startswith("cloud.lab: ")


def test_a_cloud_can_be_chosen_by_the_environment() -> None:
    environ = {"SKILLS_HOST__CLOUD__PRESET": "usgov", "SKILLS_HOST__CLOUD__CALLER_ID": "urn:x"}

    cloud = settings_of(environ=environ).cloud

    assert (cloud.caller_id, cloud.login_url) == ("urn:x", CLOUDS["usgov"].login_url)


# The environment


def test_the_environment_wins_over_the_file() -> None:
    environ = {f"{ROOT}APP_ID": OTHER, "SKILLS_HOST__HOST__BIND": "127.0.0.1:80"}

    settings = settings_of({"host": {"bind": "127.0.0.1:3978"}}, environ)

    assert (settings.bots["root"].app_id, settings.host.bind) == (OTHER, "127.0.0.1:80")
    assert settings.bots["root"].kind == "root"


def test_the_environment_is_enough() -> None:
    settings = from_mapping(
        {},
        {f"{ROOT}KIND": "skill", f"{ROOT}APP_ID": APP_ID, f"{ROOT}CREDENTIAL__SECRET": "s"},
    )

    assert (settings.default_bot, settings.bots["root"].kind) == ("root", "skill")


def test_numbers_and_flags_are_read_from_text() -> None:
    environ = {
        "SKILLS_HOST__HOST__LIMITS__SKILL_SECONDS": "7.5",
        f"{ROOT}ALLOWED_CALLERS": '["*"]',
        f"{ROOT}ALLOW_ANY_CALLER": "true",
    }

    settings = settings_of(environ=environ)

    assert settings.host.limits.skill_seconds == 7.5
    assert settings.bots["root"].allowed_callers == ("*",)


def test_lists_are_written_as_json() -> None:
    environ = {f"{ROOT}ALLOWED_CALLERS": f'["{OTHER.upper()}"]'}

    assert settings_of(environ=environ).bots["root"].allowed_callers == (OTHER,)
    assert settings_of(environ={f"{ROOT}ALLOWED_CALLERS": "[]"}).bots["root"].allowed_callers == ()


@pytest.mark.parametrize("text", ["", OTHER, f"{OTHER},{APP_ID}", "*"])
def test_text_never_becomes_a_list(text: str) -> None:
    """An empty variable does not mean everybody, and not nobody either."""
    assert "bots.root.allowed_callers: " in fault({}, {f"{ROOT}ALLOWED_CALLERS": text})


def test_broken_json_is_refused() -> None:
    assert fault({}, {f"{ROOT}ALLOWED_CALLERS": "[*]"}).startswith(f"{ROOT}ALLOWED_CALLERS: ")


def test_a_table_can_be_given_whole() -> None:
    """And its members beside it, in whatever order the environment has them."""
    environ = {
        "SKILLS_HOST__SKILLS__ECHO__TITLE": "Echo!",
        "SKILLS_HOST__SKILLS__ECHO": f'{{"endpoint": "https://x.example", "app_id": "{OTHER}"}}',
    }

    skill = settings_of(environ=environ).skills["echo"]

    assert (skill.title, skill.endpoint) == ("Echo!", "https://x.example")


def test_a_value_is_no_table() -> None:
    environ = {"SKILLS_HOST__HOST": "x", "SKILLS_HOST__HOST__BIND": "127.0.0.1:80"}

    assert fault({}, environ) == "SKILLS_HOST__HOST__BIND: host is not a table"


def test_an_unknown_variable_of_ours_is_refused() -> None:
    assert "host.bnid" in fault({}, {"SKILLS_HOST__HOST__BNID": "x"})
    assert settings_of(environ={"SKILLS_HOSTNAME": "x", "PATH": "y"})


MICROSOFT = {
    "MicrosoftAppId": OTHER,
    "MicrosoftAppPassword": "other-secret",
    "MicrosoftAppTenantId": OTHER,
}


def secret_of(settings: Settings) -> str:
    """The root's secret."""
    return settings.bots["root"].credential.revealed("secret") or ""


def test_the_usual_names_are_for_the_default_bot() -> None:
    toml = {"bots": {"root": BOT, "other": BOT}, "host": {"default_bot": "root"}}

    settings = settings_of(toml, MICROSOFT)

    assert (settings.bots["root"].app_id, settings.bots["root"].tenant) == (OTHER, OTHER)
    assert secret_of(settings) == "other-secret"
    assert settings.bots["other"].app_id == APP_ID


def test_our_own_names_win_over_the_usual_ones() -> None:
    settings = settings_of(environ=MICROSOFT | {f"{ROOT}APP_ID": APP_ID})

    assert (settings.bots["root"].app_id, secret_of(settings)) == (APP_ID, "other-secret")


def test_empty_usual_names_change_nothing() -> None:
    assert settings_of(environ=dict.fromkeys(MICROSOFT, "")) == settings_of()


def test_the_usual_names_make_no_bot() -> None:
    with pytest.raises(SettingsError, match="bots: no bot is configured"):
        from_mapping({}, MICROSOFT)


# Secrets


def test_placeholders_are_replaced_in_every_string() -> None:
    toml = bot(credential={"secret": "a${ONE}${TWO}"}) | {
        "skills": {"echo": SKILL | {"phrases": ["say ${ONE}"]}}
    }

    settings = settings_of(toml, {"ONE": "1", "TWO": "${ONE}"})

    assert secret_of(settings) == "a1${ONE}"
    assert settings.skills["echo"].phrases == ("say 1",)


def test_what_looks_like_a_placeholder_in_the_environment_is_itself() -> None:
    assert secret_of(settings_of(environ={f"{ROOT}CREDENTIAL__SECRET": "p${w"})) == "p${w"
    assert secret_of(settings_of(environ={"MicrosoftAppPassword": "p${x}"})) == "p${x}"


def test_a_secret_may_begin_with_a_bracket() -> None:
    assert secret_of(settings_of(environ={f"{ROOT}CREDENTIAL__SECRET": "[x"})) == "[x"


def test_a_secret_is_read_from_its_file() -> None:
    files = {"secrets/root": " hush \n", "key": "k\n", "redis": "redis://:hush@cache\n"}
    toml = bot(credential={"secret": "@secrets/${NAME}"}) | {
        "host": {"keys": ["@key"]},
        "coordination": {"url": "@redis"},
    }

    settings = settings_of(toml, {"NAME": "root"}, read_secret=files.__getitem__)

    assert secret_of(settings) == "hush"
    assert [key.get_secret_value() for key in settings.host.keys] == ["k"]
    assert settings.coordination.url == SecretStr("redis://:hush@cache")


def test_the_environment_can_name_a_secret_file() -> None:
    environ = {f"{ROOT}CREDENTIAL__SECRET": "@/run/secrets/x"}

    assert secret_of(settings_of(environ=environ, read_secret=str.upper)) == "/RUN/SECRETS/X"


@pytest.mark.parametrize(
    ("toml", "environ"),
    [
        (bot(credential={"secret": "${PASSWORD}"}), {"PASSWORD": "@hush"}),
        ({}, {"MicrosoftAppPassword": "@hush"}),
    ],
)
def test_a_password_may_begin_with_an_at_sign(
    toml: dict[str, Any], environ: dict[str, str]
) -> None:
    """Only what is written so is a file."""
    assert secret_of(settings_of(toml, environ, read_secret=str.upper)) == "@hush"


def test_only_secrets_are_read_from_files() -> None:
    skills = {"echo": SKILL | {"title": "@echo"}}

    assert settings_of({"skills": skills}, read_secret=str.upper).skills["echo"].title == "@echo"


@pytest.mark.parametrize(
    ("failure", "reason"),
    [(FileNotFoundError(2, "No such file"), "No such file"), (ValueError("0xff"), "not a text")],
)
def test_a_missing_secret_file_is_refused(failure: Exception, reason: str) -> None:
    """Its name is not shown: it may be a secret that happens to begin with @."""

    def read(name: str) -> str:
        raise failure

    message = fault(bot(credential={"secret": "@hush"}), read_secret=read)

    assert message.startswith("bots.root.credential.secret: its file cannot be read")
    assert reason in message
    assert "hush" not in message


def test_an_empty_secret_file_is_refused() -> None:
    toml = bot(credential={"secret": "@empty"})

    assert "the secret is empty" in fault(toml, read_secret=lambda name: "\n")


# Certificates

PEM = "-----BEGIN CERTIFICATE-----\nhush\n-----END CERTIFICATE-----\n"
PFX = "MIIJ" + "hush" * 200


def with_certificate(
    toml: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None, **more: Any
) -> Credential:
    """The credential of a root whose file says nothing else about it."""
    tables = bot(credential=dict(toml)) if toml else bot(credential=None)
    return settings_of(tables, environ, **more).bots["root"].credential


@pytest.mark.parametrize("written", ["certs/${NAME}.pem", "@certs/${NAME}.pem"])
def test_a_certificate_is_read_from_its_file(written: str) -> None:
    read = {"certs/bot.pem": PEM.encode()}.__getitem__

    found = with_certificate({"certificate": written}, {"NAME": "bot"}, read_file=read)

    assert found.revealed("certificate") == PEM


def test_certificate_and_key_can_be_two_files() -> None:
    read = {"bot.crt": PEM.encode(), "bot.key": b"-----BEGIN k"}.__getitem__

    found = with_certificate({"certificate": "bot.crt", "key": "bot.key"}, read_file=read)

    assert (found.revealed("certificate"), found.revealed("key")) == (PEM, "-----BEGIN k")


def test_a_pfx_file_is_kept_in_base64() -> None:
    found = with_certificate({"certificate": "bot.pfx"}, read_file=lambda name: b"\x30\x82\xff")

    assert found.revealed("certificate") == "MIL/"


@pytest.mark.parametrize("content", [PEM, PFX])
def test_a_certificate_comes_from_the_environment(content: str) -> None:
    in_file = with_certificate({"certificate": "${CERT}"}, {"CERT": content}, read_file=no_file)
    alone = with_certificate(environ={f"{ROOT}CREDENTIAL__CERTIFICATE": content}, read_file=no_file)

    assert in_file.revealed("certificate") == alone.revealed("certificate") == content


def no_file(name: str) -> bytes:
    raise AssertionError("nothing is read here")


def test_line_ends_may_be_written_out() -> None:
    """Where an environment has single lines only."""
    environ = {f"{ROOT}CREDENTIAL__CERTIFICATE": PEM.replace("\n", "\\n")}

    assert with_certificate(environ=environ).revealed("certificate") == PEM


def test_a_password_is_read_as_secrets_are() -> None:
    read = {"pw": "hush\n"}.__getitem__
    given = {"certificate": PEM, "password": "@pw"}
    environ = {f"{ROOT}CREDENTIAL__PASSWORD": "[x", f"{ROOT}CREDENTIAL__CERTIFICATE": PEM}

    assert with_certificate(given, read_secret=read).revealed("password") == "hush"
    assert with_certificate(environ=environ).revealed("password") == "[x"


@pytest.mark.parametrize(
    ("failure", "reason"),
    [(FileNotFoundError(2, "No such file"), "No such file"), (ValueError("null"), "not a path")],
)
def test_a_missing_certificate_file_is_refused(failure: Exception, reason: str) -> None:
    """Its name is not shown: it may be a key in a form that nobody knows."""

    def read(name: str) -> bytes:
        raise failure

    for member in ("certificate", "key"):
        message = fault(bot(credential={"certificate": PEM, member: "hush"}), read_file=read)

        assert message == f"bots.root.credential.{member}: its file cannot be read ({reason})"


def test_certificate_paths_start_at_the_files_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "host.toml").write_text(FILE.replace("secret =", "certificate ="))
    (tmp_path / "secret").write_text(PEM)
    monkeypatch.chdir("/")

    credential = load_settings(tmp_path / "host.toml", {}).bots["root"].credential

    assert credential.revealed("certificate") == PEM


USUAL_CERTIFICATE = {"CertificateThumbprint": "ab" * 20, "CertificatePrivateKey": "-----BEGIN k"}


def test_the_usual_names_of_a_certificate_are_known() -> None:
    found = with_certificate(environ=USUAL_CERTIFICATE | {"MicrosoftAppTenantId": OTHER})

    assert (found.thumbprint, found.revealed("key")) == ("AB" * 20, "-----BEGIN k")


def test_two_usual_kinds_of_credential_are_refused() -> None:
    """Neither of them silently wins."""
    message = fault(bot(credential=None), USUAL_CERTIFICATE | {"MicrosoftAppPassword": "hush"})

    assert message == "MicrosoftAppPassword: give either it or CertificateThumbprint"


def test_a_secret_in_the_file_and_a_certificate_beside_it_are_refused() -> None:
    assert "give either secret or key, not both" in fault({}, USUAL_CERTIFICATE)


def test_a_usual_thumbprint_needs_its_key() -> None:
    named = {"CertificateThumbprint": "ab" * 20}

    assert "bots.root.credential: give secret" in fault(bot(credential=None), named)


# Types of apps


@pytest.mark.parametrize("kind", ["MultiTenant", "multitenant", "", "SingleTenant"])
def test_a_usual_type_changes_nothing(kind: str) -> None:
    with_tenant = bot(tenant=OTHER)

    assert settings_of(with_tenant, {"MicrosoftAppType": kind}) == settings_of(with_tenant)


def test_a_single_tenant_bot_needs_its_tenant() -> None:
    message = fault({}, {"MicrosoftAppType": "SingleTenant"})

    assert message.startswith("bots.root.tenant: MicrosoftAppType is SingleTenant")
    environ = {"MicrosoftAppType": "singletenant", "MicrosoftAppTenantId": OTHER}
    assert settings_of({}, environ).bots["root"].tenant == OTHER


def test_a_managed_identity_has_no_other_credential() -> None:
    message = fault({}, {"MicrosoftAppType": "UserAssignedMSI", "MicrosoftAppTenantId": OTHER})

    assert message == "bots.root.credential: identity user-assigned has no secret"


def test_an_unknown_type_is_refused() -> None:
    assert "MicrosoftAppType: expected" in fault({}, {"MicrosoftAppType": "Anonymous"})


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("${X}"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
PLACES = ["host", "bots", "skills", "cloud", "store"]


@given(
    st.dictionaries(st.sampled_from(PLACES) | st.text(max_size=3), JSON_LIKE),
    st.dictionaries(
        st.lists(st.sampled_from([*PLACES, "root", "app_id", ""]), min_size=1).map(
            lambda parts: "SKILLS_HOST__" + "__".join(parts).upper()
        ),
        st.sampled_from(["", "x", "[]", "{}", "[1", '{"root": {}}']),
        max_size=3,
    ),
)
def test_any_settings_make_a_host_or_a_named_fault(
    toml: dict[str, Any], environ: dict[str, str]
) -> None:
    """Never any other error."""
    try:
        from_mapping(toml, environ | {"MicrosoftAppId": APP_ID})
    except SettingsError as exc:
        assert ":" in str(exc)


# Files

FILE = f"""
[bots.root]
kind = "root"
app_id = "{APP_ID}"
credential = {{ secret = "@secret" }}

[skills.echo]
manifest = "manifests/echo.json"
"""


def test_paths_start_at_the_files_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the working directory is."""
    (tmp_path / "host.toml").write_text(FILE)
    (tmp_path / "secret").write_text("hush\n")
    monkeypatch.chdir("/")

    settings = load_settings(tmp_path / "host.toml", {})

    assert secret_of(settings) == "hush"
    assert settings.skills["echo"].manifest == str(tmp_path / "manifests/echo.json")
    assert settings.store.url == f"sqlite:///{tmp_path}/.skills-host/root.db"


def test_absolute_paths_stay(tmp_path: Path) -> None:
    text = FILE.replace("manifests/", "/manifests/") + '[store]\nurl = "sqlite:////var/x.db"\n'
    (tmp_path / "host.toml").write_text(text)
    (tmp_path / "secret").write_text("hush")

    settings = load_settings(tmp_path / "host.toml", {})

    assert settings.skills["echo"].manifest == "/manifests/echo.json"
    assert settings.store.url == "sqlite:////var/x.db"


def test_without_a_file_paths_start_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {f"{ROOT}KIND": "root", f"{ROOT}APP_ID": APP_ID, f"{ROOT}CREDENTIAL__SECRET": "s"}

    assert load_settings(None, environ).store.url == f"sqlite:///{tmp_path}/.skills-host/root.db"


@pytest.mark.parametrize("content", [b"bots = [", b"a = 1\na = 2\n", b"\xff\xfe", b"[bots\n"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "host.toml"
    path.write_bytes(content)

    with pytest.raises(SettingsError, match=r"host\.toml: "):
        load_settings(path, {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml: No such file"):
        load_settings(tmp_path / "none.toml", {})


def test_secret_of_the_language_model_may_be_a_file() -> None:
    toml = {"routing": {"model": {"url": "http://127.0.0.1:1/v1", "model": "m", "secret": "@k"}}}
    settings = settings_of(toml, read_secret=lambda path: f"of {path}\n")

    assert settings.routing.model is not None
    assert settings.routing.model.secret is not None
    assert settings.routing.model.secret.get_secret_value() == "of k"
    assert "of k" not in repr(settings)
