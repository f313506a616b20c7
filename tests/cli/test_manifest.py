"""`skills-host manifest`: exit codes, and what each verb writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skills_host.cli.terminal import Exit
from skills_host.consumer.manifest.readers import read
from tests.cli.test_commands import ran
from tests.consumer.manifest.sound import APP_ID, data_of, with_endpoint

BASE = "https://skill.example"


def file_of(folder: Path, data: bytes, name: str = "echo.json") -> str:
    """A file with a manifest."""
    (folder / name).write_bytes(data)
    return str(folder / name)


def test_a_valid_manifest_is_done_and_others_are_not(tmp_path: Path) -> None:
    good = file_of(tmp_path, data_of())
    bad = file_of(tmp_path, with_endpoint(msAppId=""), "bad.json")

    assert ran("manifest", "lint", good).exit_code == Exit.DONE
    result = ran("manifest", "lint", good, bad)
    assert result.exit_code == Exit.SAID_NO
    assert f"{bad}:1:" in result.stdout and "SKM302" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [(), ("none.json",), ("--profile", "lax", "x.json"), ("--format", "xml", "x.json")],
)
def test_a_wrong_call_is_a_mistake(arguments: tuple[str, ...]) -> None:
    assert ran("manifest", "lint", *arguments).exit_code == Exit.USAGE


def test_the_profile_decides(tmp_path: Path) -> None:
    file = file_of(tmp_path, data_of(vendor=1))

    assert ran("manifest", "lint", file).exit_code == Exit.DONE
    assert ran("manifest", "lint", "--profile", "strict", file).exit_code == Exit.SAID_NO


def test_loopback_needs_dev(tmp_path: Path) -> None:
    file = file_of(tmp_path, with_endpoint(endpointUrl="http://127.0.0.1:3979/"))

    assert ran("manifest", "lint", file).exit_code == Exit.SAID_NO
    assert ran("manifest", "lint", "--dev", file).exit_code == Exit.DONE


@pytest.mark.parametrize("format", ["json", "sarif"])
def test_programs_get_json(tmp_path: Path, format: str) -> None:
    file = file_of(tmp_path, with_endpoint(msAppId=""))

    result = ran("manifest", "lint", "--format", format, file)

    assert result.exit_code == Exit.SAID_NO
    assert "SKM302" in json.dumps(json.loads(result.stdout))


def test_a_beginning_is_a_template_that_renders_to_a_valid_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    begun = ran("manifest", "init", "echo", "--description", "Repeats", "--publisher", "Us")
    assert begun.exit_code == Exit.DONE

    result = ran("manifest", "render", "echo.json", "--base-url", BASE, "--app-id", APP_ID)

    assert result.exit_code == Exit.DONE
    manifest = read(result.stdout.encode()).manifest
    assert manifest is not None
    assert manifest.endpoints[0].url == f"{BASE}/api/messages"


def test_a_file_is_never_begun_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file_of(tmp_path, b"mine")

    assert ran("manifest", "init", "echo").exit_code == Exit.USAGE
    assert ran("manifest", "init", "../echo").exit_code == Exit.USAGE
    assert (tmp_path / "echo.json").read_bytes() == b"mine"


def test_blanks_of_others_are_filled_in_too(tmp_path: Path) -> None:
    """As the templates of the SDKs' samples have them."""
    template = with_endpoint(endpointUrl="{baseUrl}/api/messages", msAppId="{clientId}")
    file = file_of(tmp_path, template)

    result = ran("manifest", "render", file, "--base-url", BASE + "/", "--app-id", APP_ID)

    manifest = read(result.stdout.encode()).manifest
    assert manifest is not None
    assert manifest.endpoints[0].app_id == APP_ID


def test_a_blank_without_a_value_is_named(tmp_path: Path) -> None:
    file = file_of(tmp_path, data_of(name="${title}"))

    result = ran("manifest", "render", file)

    assert result.exit_code == Exit.USAGE
    assert "${title}" in result.stderr
    assert '"Say \\"hi\\""' in ran("manifest", "render", file, "--set", 'title=Say "hi"').stdout
    assert ran("manifest", "render", file, "--set", "title").exit_code == Exit.USAGE


def test_mending_prints_or_writes(tmp_path: Path) -> None:
    file = file_of(tmp_path, data_of()[:-1] + b",}")

    printed = ran("manifest", "fix", file)
    assert printed.stdout_bytes == data_of()
    assert "a trailing comma removed" in printed.stderr
    assert ran("manifest", "lint", file).exit_code == Exit.SAID_NO
    assert ran("manifest", "fix", "--write", file).exit_code == Exit.DONE
    assert Path(file).read_bytes() == data_of()


def test_upgrading_prints_or_writes(tmp_path: Path) -> None:
    file = file_of(tmp_path, data_of(_schema=None, vendor=1))

    printed = ran("manifest", "upgrade", file)
    assert "vendor has no place" in printed.stderr
    assert read(printed.stdout_bytes).findings == ()
    assert ran("manifest", "upgrade", "-w", file).exit_code == Exit.DONE
    assert read(Path(file).read_bytes()).findings == ()
    assert ran("manifest", "upgrade", file_of(tmp_path, b"[")).exit_code == Exit.SAID_NO
