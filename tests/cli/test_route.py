"""`skills-host route`: from settings and store, without a host."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from skills_host.cli.terminal import Exit
from skills_host.lab.world import toml_of
from tests.cli.test_commands import tables
from tests.cli.test_skill import as_json, said, write
from tests.consumer.registry.shelf import ECHO, OTHER, manifest

WEATHER = {
    "endpoint": "https://weather.example/api/messages",
    "app_id": OTHER,
    "examples": ["will it rain tomorrow", "how warm will it be tomorrow", "is it going to snow"],
    "phrases": ["forecast"],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings, where commands run."""
    settings(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(folder: Path, **more: object) -> None:
    given = tables(store={"url": "sqlite:///host.db"}, skills={"weather": WEATHER}, **more)
    (folder / "skills-host.toml").write_text(toml_of(given), encoding="utf-8")


def test_words_are_explained_before_any_host_has_run(folder: Path) -> None:
    found = as_json("route", "explain", "will it rain here tomorrow?")
    shown = said("route", "explain", "the forecast").stdout

    assert (found["kind"], found["skill"], found["router"]) == ("skill", "weather", "examples")
    assert "skill weather (rules, longest)" in shown


def test_a_skill_counts_as_soon_as_it_is_approved(folder: Path) -> None:
    write(folder, manifest())
    said("skill", "add", "echo.json")
    before = as_json("route", "explain", "@echo hi")
    said("skill", "approve", "echo")
    after = as_json("route", "explain", "@echo hi")
    said("skill", "disable", "echo")
    disabled = as_json("route", "explain", "@echo hi")

    assert [one["skill"] for one in (before, after, disabled)] == [None, "echo", None]


def test_grants_count_for_who_asks(folder: Path) -> None:
    with (folder / "skills-host.toml").open("a", encoding="utf-8") as file:
        file.write('\n[[skills.weather.grants]]\nusers = ["ada"]\nchannels = ["msteams"]\n')
    who = ("--user", "ada", "--channel", "msteams")

    assert as_json("route", "explain", "forecast", *who)["skill"] == "weather"
    assert as_json("route", "explain", "forecast", "--user", "ada")["skill"] is None


def test_words_for_the_root_are_told_apart(folder: Path) -> None:
    cancelled = as_json("route", "explain", "abbrechen", "--locale", "de")
    helped = as_json("route", "explain", "help")

    assert (cancelled["kind"], cancelled["policy"]) == ("root", "way out")
    assert helped["kind"] == "help"


def test_an_active_skill_keeps_the_floor(folder: Path) -> None:
    assert as_json("route", "explain", "forecast", "--active", "weather")["kind"] == "stay"
    refused = said("route", "explain", "x", "--active", "nobody", status=Exit.SAID_NO)
    assert "bad-body" in refused.stderr


class Model(BaseHTTPRequestHandler):
    """A language model that sends everything to weather."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.asked.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        chosen = {"skill": "weather", "confidence": 0.9, "reason": "It is about rain."}
        call = {"function": {"name": "route", "arguments": json.dumps(chosen)}}
        body = json.dumps({"choices": [{"message": {"tool_calls": [call]}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_language_model_is_asked_only_where_that_is_said(folder: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), Model) as server:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        settings(folder, routing={"model": {"url": url, "model": "small"}})
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            without = as_json("route", "explain", "shall I take an umbrella")
            unasked = list(Model.asked)
            asked = as_json("route", "explain", "shall I take an umbrella", "--model")
        finally:
            server.shutdown()
            thread.join()

    assert (without["skill"], unasked) == (None, [])
    assert (asked["skill"], asked["router"], len(Model.asked)) == ("weather", "model", 1)


def test_a_file_of_utterances_is_counted(folder: Path) -> None:
    lines = ["will it rain tomorrow\tweather", "thank you\tnone", "blue whales sing\tweather"]
    (folder / "said.tsv").write_text("\n".join(lines), encoding="utf-8")

    found = as_json("route", "test", "said.tsv", "--at-least", "0.6")
    failed = said("route", "test", "said.tsv", "--at-least", "0.7", status=Exit.SAID_NO)

    assert (found["samples"], found["accuracy"], found["coverage"]) == (3, 0.6667, 0.5)
    assert found["precision"] == 1.0
    assert [row["line"] for row in found["wrong"]] == [3]
    assert "accuracy 66.7%" in failed.stdout
    assert "line 3: weather, but none (unknown): blue whales sing" in failed.stdout


@pytest.mark.parametrize("text", ["no tab", "words\tnobody", ""])
def test_a_file_that_is_wrong_is_a_usage_error(folder: Path, text: str) -> None:
    (folder / "said.tsv").write_text(text, encoding="utf-8")

    said("route", "test", "said.tsv", status=Exit.USAGE)


def test_what_cannot_be_asked_is_a_usage_error(folder: Path) -> None:
    said("route", "explain", "x", "--bot", "nobody", status=Exit.USAGE)
    said("route", "explain", "x", "--model", status=Exit.USAGE)
    said("route", "test", "nothing.tsv", status=Exit.USAGE)
    said("route", "overlaps", "nobody", status=Exit.USAGE)


def test_overlaps_are_shown(folder: Path) -> None:
    said("route", "overlaps")
    other = {
        "endpoint": "https://farm.example/api/messages",
        "app_id": ECHO,
        "phrases": ["rain tomorrow"],
    }
    given = tables(store={"url": "sqlite:///host.db"}, skills={"weather": WEATHER, "farm": other})
    (folder / "skills-host.toml").write_text(toml_of(given), encoding="utf-8")
    shown = said("route", "overlaps", status=Exit.SAID_NO).stdout

    assert "weather: 1 of 4 phrases and examples route to farm\n  will it rain tomorrow" in shown


def test_a_skill_whose_examples_go_to_another_is_warned_of(folder: Path) -> None:
    """At each step of its registration; it is taken in all the same."""
    write(folder, manifest())
    beside = {"phrases": ["the forecast of the week"], "examples": ["a forecast of the echo"]}
    (folder / "beside.json").write_text(json.dumps(beside), encoding="utf-8")
    add = ("skill", "add", "echo.json", "--registration", "beside.json")
    warning = "warning: echo: 1 of 2 phrases and examples route to weather\n"

    dry = said(*add, "--dry-run")
    added = as_json(*add, "--draft")
    submitted = said("skill", "submit", "echo")
    approved = as_json("skill", "approve", "echo")

    assert dry.stderr == submitted.stderr == warning
    assert added["overlaps"] == approved["overlaps"]
    assert [(row["to"], row["texts"]) for row in added["overlaps"]] == [
        ("weather", ["a forecast of the echo"])
    ]


def test_a_skill_is_registered_where_its_overlaps_cannot_be_told(folder: Path) -> None:
    write(folder, manifest())
    given = tables(
        store={"url": "sqlite:///host.db"},
        skills={"weather": WEATHER | {"example_files": ["gone.txt"]}},
    )
    (folder / "skills-host.toml").write_text(toml_of(given), encoding="utf-8")

    added = said("skill", "add", "echo.json")
    dry = said("skill", "approve", "echo", "--dry-run")
    approved = said("skill", "approve", "echo")

    assert all("overlaps are not known: " in one.stderr for one in (added, dry, approved))
    assert as_json("skill", "show", "echo")["standing"] == "running"


def test_a_skill_with_words_of_its_own_is_not_warned_of(folder: Path) -> None:
    write(folder, manifest())

    assert as_json("skill", "add", "echo.json")["overlaps"] == []
    assert said("skill", "approve", "echo").stderr == ""


@pytest.mark.parametrize("pattern", ["(?=ahead)x", "(a)\\1", "("])
def test_a_registration_with_a_pattern_that_cannot_be_used_is_refused(
    folder: Path, pattern: str
) -> None:
    write(folder, manifest())
    (folder / "beside.json").write_text(json.dumps({"patterns": [pattern]}), encoding="utf-8")
    add = ("skill", "add", "echo.json", "--registration", "beside.json")

    assert "bad-registration: skills.echo.patterns" in said(*add, status=Exit.SAID_NO).stderr
    assert as_json("skill", "list") == []
