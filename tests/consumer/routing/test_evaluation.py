"""The figures of a set of utterances whose skill is known."""

from __future__ import annotations

import pytest

from skills_host.consumer.routing.evaluation import NONE, Evaluation, Sample, Verdict, samples_of
from skills_host.errors import SettingsError


def verdict(expected: str, got: str) -> Verdict:
    return Verdict(Sample("words", expected, 1), got, "skill")


def test_figures_are_those_of_a_table_counted_by_hand() -> None:
    found = Evaluation(
        [
            *[verdict("a", "a")] * 5,
            *[verdict("a", "b")] * 1,
            *[verdict("b", NONE)] * 2,
            *[verdict(NONE, NONE)] * 1,
            *[verdict(NONE, "a")] * 1,
        ]
    )

    assert found.accuracy == 0.6
    assert found.coverage == 0.75
    assert found.precision == 5 / 7
    assert found.confusion == {"a": {"a": 5, "b": 1}, "b": {NONE: 2}, NONE: {"a": 1, NONE: 1}}
    assert len(found.wrong) == 4


def test_samples_are_read_with_their_lines() -> None:
    text = "\ufeff# utterances\nbook a trip\tbooking\n\nthank you\t none \n"

    assert samples_of(text, source="x") == (
        Sample("book a trip", "booking", 2),
        Sample("thank you", NONE, 4),
    )


@pytest.mark.parametrize("line", ["no tab", "\tskill", "words\t", "a\tb\tc"])
def test_a_line_that_is_no_sample_is_named(line: str) -> None:
    with pytest.raises(SettingsError, match="x: line 2"):
        samples_of(f"good\techo\n{line}", source="x")


def test_a_file_without_samples_is_refused() -> None:
    with pytest.raises(SettingsError, match="no samples"):
        samples_of("# nothing\n", source="x")
