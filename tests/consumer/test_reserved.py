"""Reserved words: what a user says to the root itself, in their own language."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills_host.consumer.routing.reserved import (
    LANGUAGES,
    LONGEST,
    Reserved,
    ReservedKind,
    ReservedWords,
)
from skills_host.consumer.routing.rules import words_of

CANCEL, SWITCH = ReservedKind.CANCEL, ReservedKind.SWITCH
WORDS = ReservedWords()
KNOWN = [
    (language, kind, phrase)
    for language, phrases in LANGUAGES.items()
    for kind, listed in phrases.items()
    for phrase in listed
]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_known_phrase_is_heard(language: str) -> None:
    """In its language, in a region of it, and where no language is known; in any case."""
    for spoken, kind, phrase in KNOWN:
        if spoken != language:
            continue
        said = phrase.replace("{skill}", "booking")
        meant = Reserved(kind, "booking" if kind is SWITCH else "")

        for locale in (language, f"{language}-XX", f"{language.upper()}_XX", None, ""):
            assert WORDS.heard(said, locale) == meant, (said, locale)
        assert WORDS.heard(f"  {said}!", language) == meant
        assert WORDS.heard(f"“{said.title()}”", language) == meant


def test_no_phrase_means_two_things() -> None:
    """Where no language is known, all of them are asked."""
    for (_, kind, one), (_, other_kind, other) in combinations(KNOWN, 2):
        assert kind is other_kind or words_of(one) != words_of(other), one


@pytest.mark.parametrize(
    ("text", "locale"),
    [
        *[("cancel my trip", "en"), ("please cancel", "en"), ("cancelled", None), ("", None)],
        *[("?!", None), ("abbrechen", "fr"), ("abbrechen", "en-US"), ("switch to", "en")],
        *[("switch to   ", "en"), ("切换到", "zh"), ("helpful", "en"), ("cancel " * LONGEST, "en")],
    ],
)
def test_other_words_are_for_somebody_else(text: str, locale: str | None) -> None:
    assert WORDS.heard(text, locale) is None


def test_english_is_heard_in_every_language() -> None:
    assert WORDS.heard("Cancel.", "de-CH") == Reserved(CANCEL)
    assert WORDS.heard("start over", "ja") == Reserved(ReservedKind.START_OVER)
    assert WORDS.heard("cancel", "tlh") == Reserved(CANCEL)


@pytest.mark.parametrize(
    ("text", "locale", "name"),
    [
        ("Switch to the Trip Desk, please?", "en-GB", "the trip desk please"),
        ("wechsle zu Wetter für Zürich", "de", "wetter für zürich"),
        ("旅行に切り替えて", "ja-JP", "旅行"),
        ("booking becerisine geç", "tr", "booking"),
    ],
)
def test_name_to_switch_to(text: str, locale: str, name: str) -> None:
    assert WORDS.heard(text, locale) == Reserved(SWITCH, name)


def test_own_words_replace_the_known_ones_of_their_kind() -> None:
    words = ReservedWords({"de": {CANCEL: ["Schluss jetzt"]}, "de-CH": {CANCEL: ["fertig"]}})

    assert words.heard("schluss jetzt", "de-AT") == Reserved(CANCEL)
    assert words.heard("abbrechen", "de-AT") is None
    assert words.heard("fertig", "de-CH") == words.heard("schluss jetzt", "de-CH")
    assert words.heard("fertig", "de-AT") is None
    assert words.heard("von vorn", "de") == Reserved(ReservedKind.START_OVER)
    assert words.heard("annuler", "fr") == Reserved(CANCEL)


def test_a_new_language() -> None:
    words = ReservedWords({"tlh": {CANCEL: ["qIl"], SWITCH: ["{skill} yIghoS"]}})

    assert words.heard("Qil", "tlh") == Reserved(CANCEL)
    assert words.heard("booking yIghoS", "tlh") == Reserved(SWITCH, "booking")


def test_cancel_of_code_holds_in_every_language() -> None:
    words = ReservedWords({"fr": {CANCEL: ["stop"]}}, cancel=["leave"])

    assert words.heard("leave", "de") == words.heard("leave") == Reserved(CANCEL)
    assert words.heard("abbrechen", "de") is words.heard("cancel") is None
    assert words.heard("start over", "en") is None
    assert words.heard("stop", "fr") == Reserved(CANCEL)
    assert words.heard("help", "de") == Reserved(ReservedKind.HELP)


def test_settings_come_before_code() -> None:
    words = ReservedWords({"de": {CANCEL: ["raus"]}}, cancel=["leave"])
    replaced = words.replaced({"de": {CANCEL: ["weg"]}, "fr": {CANCEL: []}})

    assert replaced.heard("weg", "de") == replaced.heard("leave", "es") == Reserved(CANCEL)
    assert replaced.heard("raus", "de") is None
    assert words.heard("raus", "de") == words.heard("leave", "fr-CA") == Reserved(CANCEL)


@pytest.mark.parametrize("pattern", ["switch", "{skill}", " {skill}!"])
def test_a_phrase_to_switch_with_needs_words_and_a_name(pattern: str) -> None:
    with pytest.raises(ValueError, match="skill"):
        ReservedWords({"en": {SWITCH: [pattern]}})


@given(st.text(), st.sampled_from([None, "de", "ja-JP", "_", "-", "x" * 50]))
def test_any_text_is_heard_or_not(text: str, locale: str | None) -> None:
    found = WORDS.heard(text, locale)

    assert found is None or (found.name != "") == (found.kind is SWITCH)
