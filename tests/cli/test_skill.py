"""`skills-host skill`, `grant`, `allowlist` and `audit`: from the store, without a host."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from skills_host.cli.terminal import Exit
from skills_host.consumer.registry.audit import ENTRY, STREAM
from skills_host.lab.world import toml_of
from skills_host.store.records import Put, element_key
from skills_host.store.sqlite import SqliteStore
from tests.cli.test_commands import ran, tables
from tests.consumer.registry.shelf import ECHO, OTHER, endpoint, manifest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings and a manifest, where commands run."""
    given = tables(store={"url": "sqlite:///host.db"})
    given.pop("skills", None)
    (tmp_path / "skills-host.toml").write_text(toml_of(given), encoding="utf-8")
    write(tmp_path, manifest())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, given: dict[str, Any], name: str = "echo.json") -> None:
    (folder / name).write_text(json.dumps(given), encoding="utf-8")


def said(*arguments: str, status: Exit = Exit.DONE) -> Result:
    """What a command says, which ends as it should."""
    result = ran(*arguments)
    assert result.exit_code == status, result.output
    return result


def as_json(*arguments: str) -> Any:
    return json.loads(said(*arguments, "--json").stdout)


def test_a_skill_is_added_approved_and_shown(folder: Path) -> None:
    added = as_json("skill", "add", "echo.json", "--as", "ada")
    said("skill", "approve", "echo", "--as", "bob", "--reason", "looked at it")

    (listed,) = as_json("skill", "list")
    shown = as_json("skill", "show", "echo")

    assert added["revision"]["sha256"] in said("skill", "show", "echo").stdout
    assert (listed["name"], listed["standing"]) == ("echo", "running")
    assert shown["active"] == added["revision"]["digest"]
    assert shown["revisions"][0]["approval"]["by"] == "bob"
    assert [entry["verb"] for entry in as_json("audit", "tail")] == ["add", "approve"]


def test_a_bad_manifest_is_refused_with_its_findings(folder: Path) -> None:
    write(folder, manifest(endpoints=endpoint(endpointUrl="javascript:alert(1)")))

    result = said("skill", "add", "echo.json", status=Exit.SAID_NO)

    assert "manifest-invalid" in result.stderr
    assert "/endpoints/0/endpointUrl (line 1, column" in result.stderr


def naming(*urls: str) -> dict[str, Any]:
    """A manifest that names language files."""
    models = [{"name": "e", "contentType": "application/lu", "url": url} for url in urls]
    return manifest(dispatchModels={"languages": {"en": models}})


def noted(received: dict[str, Any]) -> list[tuple[str, str]]:
    """(code, file) of what was said about language files."""
    notes = [(one["code"], one["message"]) for one in received["revision"]["findings"]]
    return [(c, m.rpartition(": ")[2]) for c, m in notes if c in ("SKM214", "SKM215", "SKM216")]


def test_language_files_beside_a_manifest_come_with_it(folder: Path) -> None:
    """With what they lead to, beside them; a new one makes a new revision."""
    write(folder, naming("e.lu"))
    (folder / "e.lu").write_text("[import](./more.lu)\n[import](../up.lu)\n# Echo\n- say it")
    (folder / "more.lu").write_text("# Echo\n- say it again")
    added = as_json("skill", "add", "echo.json")
    same = as_json("skill", "revise", "echo", "echo.json")
    (folder / "more.lu").write_text("# Echo\n- repeat it")
    revised = as_json("skill", "revise", "echo", "echo.json")

    files = [(file["url"], file["within"]) for file in added["revision"]["languages"]]
    assert files == [("e.lu", ""), ("more.lu", "e.lu")]
    assert noted(added) == [("SKM215", "../up.lu")]
    assert same["revision"]["digest"] == added["revision"]["digest"]
    assert revised["revision"]["digest"] != added["revision"]["digest"]


def test_language_files_that_are_not_beside_a_manifest_are_not_read_and_that_is_said(
    folder: Path,
) -> None:
    """When it is sent in, and to whoever looks at it before they approve."""
    inner = folder / "inner"
    inner.mkdir()
    (folder / "up.lu").write_text("# Up\n- up")
    (inner / "link.lu").symlink_to(folder / "up.lu")
    (inner / "dir.lu").mkdir()
    named = ["https://e.example/e.lu", "../up.lu", str(folder / "up.lu"), "link.lu", "dir.lu"]
    write(inner, naming(*named, "none.lu"), "echo.json")
    added = as_json("skill", "add", "inner/echo.json")

    assert noted(added) == [("SKM214", name) for name in (*named, "none.lu")]
    assert added["revision"]["languages"] == []
    warning = "warning SKM214 /dispatchModels/languages/en/5: "
    assert warning in said("skill", "show", "echo").stdout


def test_a_language_file_that_is_too_large_is_refused(folder: Path) -> None:
    write(folder, naming("e.lu"))
    (folder / "e.lu").write_bytes(b" " * (2 * 1024 * 1024 + 1))

    refused = said("skill", "add", "echo.json", status=Exit.USAGE)

    assert "e.lu: File too large" in refused.stderr
    assert as_json("skill", "list") == []


def test_more_language_files_than_a_manifest_may_lead_to_are_refused(folder: Path) -> None:
    write(folder, naming(*["e.lu"] * 51))
    (folder / "e.lu").write_text("# Echo\n- say it")

    refused = said("skill", "add", "echo.json", status=Exit.SAID_NO)

    assert "manifest-invalid: the manifest leads to more than 50 files" in refused.stderr


def test_a_file_that_is_not_there_is_a_usage_error(folder: Path) -> None:
    said("skill", "add", "nothing.json", status=Exit.USAGE)


def test_unexpected_bytes_are_refused(folder: Path) -> None:
    result = said("skill", "add", "echo.json", "--expect-sha256", "0" * 64, status=Exit.SAID_NO)

    assert "digest-mismatch" in result.stderr


def test_what_is_unknown_is_said_no_to(folder: Path) -> None:
    for verb in ("show", "approve", "drain", "revoke", "remove"):
        assert "not-registered" in said("skill", verb, "nothing", status=Exit.SAID_NO).stderr


def test_a_store_that_cannot_be_had_is_unreachable(folder: Path) -> None:
    (folder / "host.db").write_bytes(b"this is no database" * 100)

    said("skill", "list", status=Exit.UNREACHABLE)


def test_a_new_revision_waits_and_its_diff_says_why(folder: Path) -> None:
    said("skill", "add", "echo.json")
    said("skill", "approve", "echo")
    write(folder, manifest(endpoints=endpoint(msAppId=OTHER)))
    revised = as_json("skill", "revise", "echo", "echo.json")

    diff = as_json("skill", "diff", "echo")

    assert revised["change"] == diff["class"] == "security"
    assert "/endpoints/0/msAppId" in [one["pointer"] for one in diff["differences"]]
    assert as_json("allowlist", "show")["skills"][0]["app_id"] == ECHO
    said("skill", "approve", "echo")
    assert as_json("allowlist", "show")["skills"][0]["app_id"] == OTHER
    said("skill", "rollback", "echo")
    assert as_json("allowlist", "show")["skills"][0]["app_id"] == ECHO


def test_each_verb_moves_the_skill(folder: Path) -> None:
    said("skill", "add", "echo.json", "--draft")
    said("skill", "submit", "echo")
    said("skill", "approve", "echo")
    seen = [
        as_json("skill", verb, "echo")["standing"]
        for verb in ("drain", "enable", "disable", "enable", "quarantine", "release", "revoke")
    ]

    assert seen == [
        "draining",
        "running",
        "suspended",
        "running",
        "suspended",
        "running",
        "revoked",
    ]
    assert as_json("allowlist", "show")["barred"] == {ECHO: "skill-revoked"}
    assert "removed" in said("skill", "remove", "echo").stdout
    assert as_json("skill", "list") == []


def test_a_registration_document_stands_beside_the_manifest(folder: Path) -> None:
    (folder / "echo.toml").write_text('phrases = ["say it again"]\nseconds = 5\n')
    said("skill", "add", "echo.json", "--registration", "echo.toml")
    (folder / "bad.toml").write_text("endpoint = 'https://evil.example'\n")

    refused = said(
        "skill", "revise", "echo", "echo.json", "--registration", "bad.toml", status=Exit.SAID_NO
    )

    registered = as_json("skill", "show", "echo")["content"][0]["registration"]
    assert registered == {"phrases": ["say it again"], "seconds": 5}
    assert "bad-registration" in refused.stderr


def test_a_dry_run_changes_nothing(folder: Path) -> None:
    said("skill", "add", "echo.json", "--dry-run")

    assert as_json("skill", "list") == []


def test_grants_are_added_listed_and_taken_back(folder: Path) -> None:
    said("skill", "add", "echo.json")
    said("grant", "add", "echo", "--channel", "msteams")
    said("grant", "add", "echo", "--root", "root", "--user", "ann")
    said("grant", "rm", "echo", "--channel", "msteams")

    listed = as_json("grant", "list", "echo")

    assert [(one["roots"], one["users"]) for one in listed] == [(["root"], ["ann"])]
    last = ("grant", "rm", "echo", "--root", "root", "--user", "ann")
    assert "last-grant" in said(*last, status=Exit.SAID_NO).stderr
    said("grant", "add", "echo", status=Exit.USAGE)


def test_an_author_is_told_whom_to_allow(folder: Path) -> None:
    said("skill", "add", "echo.json")

    found = as_json("allowlist", "export", "--for-skill", "echo")

    assert found["allowed_callers"] == [tables()["bots"]["root"]["app_id"]]


def test_a_spoilt_trail_is_found(folder: Path) -> None:
    said("skill", "add", "echo.json")
    whole = as_json("audit", "verify")
    said("audit", "verify", "--head", whole["head"])

    async def spoil() -> None:
        store = SqliteStore(folder / "host.db")
        await store.open()
        record = (await store.scan(ENTRY, limit=1))[0]
        forged = record.body.replace(b'"add"', b'"ad2"')
        await store.write([Put(ENTRY, element_key(STREAM, 1), forged)])
        await store.close()

    asyncio.run(spoil())

    assert "audit-broken" in said("audit", "verify", status=Exit.SAID_NO).stderr


def test_a_lock_file_is_written_and_holds_what_runs(folder: Path) -> None:
    said("skill", "add", "echo.json")
    said("skill", "approve", "echo")
    said("lock", "write")
    said("lock", "check")
    first = (folder / "skills.lock").read_bytes()
    said("lock", "write")
    write(folder, manifest(description="Another text"))
    said("skill", "revise", "echo", "echo.json")
    said("skill", "approve", "echo")

    drifted = said("lock", "check", status=Exit.SAID_NO)

    assert (folder / "skills.lock").read_bytes() == first
    assert drifted.stdout.startswith("echo runs ")


@pytest.mark.parametrize("text", ["", "{}", '{"version": 2, "skills": {}}', '{"version": 1}'])
def test_what_is_no_lock_file_is_refused(folder: Path, text: str) -> None:
    (folder / "skills.lock").write_text(text)

    assert "skills.lock" in said("lock", "check", status=Exit.SAID_NO).stderr


def test_a_bundle_brings_content_and_no_trust(folder: Path) -> None:
    said("skill", "add", "echo.json")
    said("skill", "approve", "echo")
    digest = as_json("skill", "show", "echo")["active"]
    (folder / "bundle.json").write_text(said("skill", "export").stdout)
    said("skill", "retire", "echo")
    said("skill", "remove", "echo")

    said("skill", "import-bundle", "bundle.json")

    shown = as_json("skill", "show", "echo")
    assert (shown["active"], shown["revisions"][0]["digest"]) == ("", digest)
    assert shown["revisions"][0]["trust"] == "pending"


@pytest.mark.parametrize("text", ["", "[]", '{"version": 9, "skills": {}}'])
def test_what_is_no_bundle_is_refused(folder: Path, text: str) -> None:
    (folder / "bundle.json").write_text(text)

    said("skill", "import-bundle", "bundle.json", status=Exit.SAID_NO)


def test_a_skill_that_cannot_be_reached_is_down(folder: Path) -> None:
    said("skill", "add", "echo.json")

    result = said("skill", "ping", "echo", status=Exit.UNREACHABLE)

    assert "token-unavailable" in result.stdout
    assert as_json("skill", "show", "echo")["health"]["note"]
