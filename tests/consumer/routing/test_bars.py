"""What candidates have to pass, by engine, and what the built-in one makes of our utterances."""

from __future__ import annotations

import pytest

from bench.examples import accuracy, asked, figures, utterances
from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.routing.chain import routers_of
from skills_host.consumer.routing.examples import ROOT, ExampleIndex
from skills_host.consumer.routing.overlaps import overlaps
from skills_host.consumer.routing.small_talk import SMALL_TALK
from skills_host.routing_settings import BARS, Bars, ExamplesSettings, RoutingSettings


def test_each_engine_has_its_own() -> None:
    """What is set counts for any, also where it is nothing."""
    builtin, sklearn = (ExamplesSettings(engine=engine).bars() for engine in ("builtin", "sklearn"))
    given = ExamplesSettings(engine="sklearn", margin=0.0).bars()

    assert builtin != sklearn
    assert (given.threshold, given.margin, given.switch) == (sklearn.threshold, 0.0, sklearn.switch)


def test_a_router_of_ones_own_keeps_its_bars_whatever_the_engine() -> None:
    async def own(*_: object) -> None:
        return None

    settings = RoutingSettings(examples=ExamplesSettings(engine="sklearn"))
    (step,) = routers_of(settings, own, None)

    assert Bars(step.threshold, step.margin, 0.6) == BARS["own"]


def test_overlaps_do_not_go_by_bars_of_another_engine() -> None:
    """They are the built-in neighbours' whatever compares users' words."""
    skills = {
        name: Skill(name, name, "", f"https://{name}.example", examples={"": examples})
        for name, examples in (
            ("one", ("put a meeting into my calendar",)),
            ("two", ("put a meeting into the calendar",)),
        )
    }
    (found, *_) = overlaps(skills, policy=ExamplesSettings())

    assert found.texts
    assert not overlaps(skills, policy=ExamplesSettings(threshold=1))
    assert overlaps(skills, policy=ExamplesSettings(engine="sklearn", threshold=1))


@pytest.mark.parametrize(
    ("training", "samples", "least"),
    [
        ("training.tsv", "held_out.tsv", (0.75, 0.45, 0.9)),
        ("other_training.tsv", "other_held_out.tsv", (0.65, 0.35, 0.85)),
    ],
)
def test_the_defaults_of_the_built_in_engine(
    training: str, samples: str, least: tuple[float, ...]
) -> None:
    """They route a good share of what nothing was chosen on, seldom wrong, and no small talk."""
    found = asked("builtin", utterances(training), utterances(samples))
    usual = ExamplesSettings().bars()
    coverage, precision, false = figures(found, usual.threshold, usual.margin)

    assert accuracy(found) >= least[0]
    assert coverage >= least[1]
    assert precision >= least[2]
    assert false <= 0.02


@pytest.mark.ml
def test_the_defaults_of_the_trained_engine() -> None:
    """They route less than the built-in one's, and what they route is seldom wrong."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install -e '.[ml]'")
    found = asked("sklearn", utterances("training.tsv"), utterances("held_out.tsv"))
    usual = ExamplesSettings(engine="sklearn").bars()
    coverage, precision, false = figures(found, usual.threshold, usual.margin)

    assert accuracy(found) >= 0.75
    assert coverage >= 0.35
    assert precision >= 0.95
    assert false <= 0.02


def test_the_very_words_of_an_example_are_sure_and_several_alike_are_surer_than_one() -> None:
    examples = [
        ("trips", "", "book a flight to Oslo"),
        ("rain", "", "will it rain in Oslo"),
        (ROOT, "", "thank you"),
    ]
    alone, index = (
        ExampleIndex([*examples, ("rain", "", text)])
        for text in ("what a day", "is it going to rain")
    )

    def score(index: ExampleIndex, text: str) -> tuple[str, float]:
        best = index.found(text, lambda _: True)[0]
        return best.skill, best.score

    assert score(index, "Book a flight to Oslo!") == ("trips", 1.0)
    assert score(index, "does it rain there")[1] > score(alone, "does it rain there")[1]


def test_what_all_skills_say_tells_less_than_what_one_says() -> None:
    """“I would like to …” is no reason for either."""
    index = ExampleIndex(
        [
            ("trips", "", "I would like to book a flight"),
            ("rain", "", "I would like to know of the rain"),
            (ROOT, "", "I would like to thank you"),
        ]
    )
    (best, *others) = index.found("I would like to fly, no flight is too long", lambda _: True)

    assert best.skill == "trips"
    assert all(best.score > 2 * other.score for other in others)


def test_an_example_that_is_left_out_does_not_tell_of_itself() -> None:
    """It is as if it had never been there."""
    examples = [
        ("rain", "", "will it rain in Rome"),
        ("rain", "", "how warm is it going to be tomorrow"),
        ("trips", "", "book a flight to Oslo"),
        ("trips", "", "will it rain in Oslo"),
        *((ROOT, "", text) for text in SMALL_TALK),
    ]
    text = examples[3][2]

    def scores(index: ExampleIndex, but: int | None) -> dict[str, float]:
        found = index.found(text, lambda _: True, but=but)
        return {candidate.skill: candidate.score for candidate in found}

    without = scores(ExampleIndex([*examples[:3], *examples[4:]]), None)

    assert max(without, key=without.__getitem__) == "rain"
    assert scores(ExampleIndex(examples), 3) == pytest.approx(without, abs=0.02)
