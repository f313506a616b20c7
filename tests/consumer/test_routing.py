"""Routing by words: which skill is named, and when that is not clear."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.routing.decision import RouteKind
from skills_host.consumer.routing.route import Known, RouteRequest, ranked
from skills_host.consumer.routing.rules import RuleIndex, words_of

APP_ID = "a0000000-0000-4000-8000-000000000001"


def skill(name: str, *phrases: str, title: str = "") -> Skill:
    """A skill with these phrases."""
    url = f"https://{name}.example"
    return Skill(name, title or name, APP_ID, url, phrases=phrases)


SKILLS = {
    found.name: found
    for found in [
        skill("echo", "repeat after me", "say"),
        skill("booking", "book a trip", "travel", "don't stay home", title="Trip Desk"),
        skill("weather", "forecast", "say", "travel weather", title="Wetter für Zürich"),
    ]
}


KNOWN = Known(SKILLS, RuleIndex(SKILLS))


def everyone(name: str) -> bool:
    """Nothing is hidden."""
    return True


def picked(text: str) -> str | None:
    """The skill that the words are for, if there is one."""
    return ranked(RouteRequest(text), KNOWN, everyone).skill


def matches(text: str, skills: dict[str, Skill] = SKILLS) -> list[tuple[str, str]]:
    """(skill, what matched) of all rules, best first."""
    return [(found.skill, found.why) for found in RuleIndex(skills).found(text, everyone)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        *[("echo", "echo"), ("ECHO!", "echo"), ("talk to echo please", "echo")],
        *[("repeat after me: hello", "echo"), ("I want to book a trip, now", "booking")],
        *[("Book   a\ntrip", "booking"), ("trip desk", "booking"), ("Trip-Desk", "booking")],
        *[("I don't stay home", "booking"), ("I don’t stay home", "booking")],
        *[("wetter für zürich?", "weather"), ("Wetter fu\u0308r Zu\u0308rich", "weather")],
        *[("ＥＣＨＯ", "echo"), ("(echo)", "echo"), ("echo,booked", "echo")],
    ],
)
def test_a_skill_is_named_by_name_title_or_phrase(text: str, name: str) -> None:
    """Anywhere in the text, in whole words, however they are written."""
    assert picked(text) == name


@pytest.mark.parametrize(
    "text",
    [
        *["", "  ", "?!", "hello", "echoes", "anecho", "book trip", "book a trips", "trip"],
        *["a trip book", "repeat after", "e c h o", "don t stay home", "echo's"],
    ],
)
def test_other_words_name_no_skill(text: str) -> None:
    assert ranked(RouteRequest(text), KNOWN, everyone).kind is RouteKind.UNKNOWN


def test_the_longest_phrase_decides() -> None:
    decision = ranked(RouteRequest("travel weather for travel"), KNOWN, everyone)

    assert (decision.kind, decision.skill) == (RouteKind.SKILL, "weather")
    assert decision.candidates[0].why == "“travel weather”"


def test_equals_are_ambiguous() -> None:
    """In the order of the configuration."""
    decision = ranked(RouteRequest("say something"), KNOWN, everyone)

    assert decision.kind is RouteKind.AMBIGUOUS
    assert [found.skill for found in decision.candidates] == ["echo", "weather"]


def test_a_skill_is_named_once() -> None:
    """However many of its phrases match."""
    assert matches("echo, repeat after me") == [("echo", "“repeat after me”")]


def test_without_skills_nothing_is_named() -> None:
    assert matches("echo", {}) == []


@pytest.mark.parametrize("phrase", ["", "   ", "?!", "…"])
def test_a_phrase_without_words_names_nothing(phrase: str) -> None:
    assert matches("anything at all", {"x": skill("x", phrase)}) == []
    assert matches("", {"x": skill("x", phrase)}) == []


def test_all_matches_are_given_best_first() -> None:
    assert matches("echo the forecast") == [("weather", "“forecast”"), ("echo", "“echo”")]


@given(st.text())
def test_words_are_folded_once_and_for_all(text: str) -> None:
    assert words_of(words_of(text)) == words_of(text)


@given(st.text(), st.sampled_from(sorted(SKILLS)))
def test_a_name_in_any_text_names_its_skill(text: str, name: str) -> None:
    assert name in [found for found, _ in matches(f"{text} {name} {text}")]
