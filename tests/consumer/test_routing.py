"""Routing by words: which skill is named, and when that is not clear."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.routing.route import RouteDecision, RouteKind, is_reserved, route
from skills_host.consumer.routing.rules import matches, words_of

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


def picked(text: str) -> str | None:
    """The skill that the words are for, if there is one."""
    return route(text, SKILLS).skill


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
    assert route(text, SKILLS) == RouteDecision(RouteKind.UNKNOWN)


def test_the_longest_phrase_decides() -> None:
    decision = route("travel weather for travel", SKILLS)

    assert decision == RouteDecision(RouteKind.SKILL, "weather", ("weather",), "travel weather")


def test_equals_are_ambiguous() -> None:
    """In the order of the configuration."""
    assert route("say something", SKILLS) == RouteDecision(
        RouteKind.AMBIGUOUS, None, ("echo", "weather"), "say"
    )


def test_a_skill_is_named_once() -> None:
    """However many of its phrases match."""
    decision = route("echo, repeat after me", SKILLS)

    assert (decision.skill, decision.matched) == ("echo", "repeat after me")


def test_without_skills_nothing_is_named() -> None:
    assert route("echo", {}) == RouteDecision(RouteKind.UNKNOWN)


@pytest.mark.parametrize("phrase", ["", "   ", "?!", "…"])
def test_a_phrase_without_words_names_nothing(phrase: str) -> None:
    assert matches("anything at all", {"x": skill("x", phrase)}) == []
    assert matches("", {"x": skill("x", phrase)}) == []


def test_all_matches_are_given_best_first() -> None:
    assert matches("echo the forecast", SKILLS) == [("weather", "forecast"), ("echo", "echo")]


@pytest.mark.parametrize("text", ["cancel", "Cancel!", " CANCEL ", "start   over.", "“start over”"])
def test_reserved_words_stand_alone(text: str) -> None:
    assert is_reserved(text, {"cancel", "start over"})


@pytest.mark.parametrize("text", ["", "cancel my trip", "cancellation", "please cancel", "start"])
def test_words_around_them_are_for_the_skill(text: str) -> None:
    assert not is_reserved(text, {"cancel", "start over"})


@given(st.text())
def test_words_are_folded_once_and_for_all(text: str) -> None:
    assert words_of(words_of(text)) == words_of(text)


@given(st.text(), st.sampled_from(sorted(SKILLS)))
def test_a_name_in_any_text_names_its_skill(text: str, name: str) -> None:
    assert name in [found for found, _ in matches(f"{text} {name} {text}", SKILLS)]
