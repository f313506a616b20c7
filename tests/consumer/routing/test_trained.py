"""The classifier of scikit-learn, where it is installed."""

from __future__ import annotations

import sys

import pytest

from skills_host.consumer.routing.examples import ROOT
from skills_host.consumer.routing.known import nearest
from skills_host.errors import SettingsError

EXAMPLES = [
    ("travel", "", "book a flight to Oslo"),
    ("travel", "", "find me a train to Lisbon"),
    ("travel", "", "I want a flight next week"),
    ("weather", "", "will it rain tomorrow"),
    ("weather", "", "how warm is it outside"),
    ("weather", "", "is it going to snow"),
    (ROOT, "", "thank you"),
    (ROOT, "", "good morning"),
    (ROOT, "", "never mind"),
]


@pytest.mark.ml
def test_the_skill_of_the_likest_examples_comes_first() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install -e '.[ml]'")
    index = nearest(EXAMPLES, engine="sklearn")

    assert index is not None
    firsts = {
        text: index.found(text, lambda _: True)[0].skill
        for text in ("a flight to Paris please", "does it rain today", "thank you so much")
    }
    assert list(firsts.values()) == ["travel", "weather", ROOT]


@pytest.mark.ml
def test_what_a_user_may_not_see_is_not_found() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install -e '.[ml]'")
    index = nearest(EXAMPLES, engine="sklearn")

    assert index is not None
    found = index.found("book a flight to Oslo", lambda name: name != "travel")
    assert "travel" not in [candidate.skill for candidate in found]


@pytest.mark.ml
def test_words_that_no_example_has_find_nothing() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install -e '.[ml]'")
    index = nearest(EXAMPLES, engine="sklearn")

    assert index is not None
    assert index.found("ξψ", lambda _: True) == ()


def test_without_the_extra_the_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.feature_extraction.text", None)

    with pytest.raises(SettingsError, match="routing.examples.engine"):
        nearest(EXAMPLES, engine="sklearn")
