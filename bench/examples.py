"""How good the nearest examples are at their defaults, on utterances that these were not chosen on.

`scripts/bench examples` prints the figures of the tuning set, on which the defaults of
`skills_host/routing_settings.py` were chosen, with the bars that would be best on it alone; then
those of the held-out sets, one of them of bots that nothing at all was chosen on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from skills_host.consumer.routing.decision import Candidate
from skills_host.consumer.routing.examples import ROOT, Example
from skills_host.consumer.routing.known import nearest
from skills_host.consumer.routing.small_talk import SMALL_TALK
from skills_host.routing_settings import ExamplesSettings

FOLDER = Path(__file__).parent / "utterances"
NONE = "none"
THRESHOLDS = tuple(step / 20 for step in range(4, 17))
MARGINS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)
SETS = (
    ("tuning set", "training.tsv", "tuning.tsv"),
    ("held-out set", "training.tsv", "held_out.tsv"),
    ("other bots", "other_training.tsv", "other_held_out.tsv"),
)

Asked = tuple[str, tuple[Candidate, ...]]
"""Whom an utterance is for, and what was found."""


def utterances(name: str) -> list[Example]:
    """The utterances of one of the files."""
    lines = (FOLDER / name).read_text().splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return [(skill, "", text) for skill, texts in rows for text in texts.split("|")]


def asked(engine: str, known: Sequence[Example], samples: Sequence[Example]) -> list[Asked]:
    """What is found for samples by what knows these examples, and small talk."""
    index = nearest([*known, *((ROOT, "", text) for text in SMALL_TALK)], engine=engine)
    if index is None:
        return []
    return [(skill, index.found(text, lambda _: True)) for skill, _, text in samples]


def chosen(found: Sequence[Candidate], threshold: float, margin: float) -> str:
    """The skill that is sure enough, or none."""
    if not found or found[0].skill == ROOT:
        return NONE
    second = found[1].score if len(found) > 1 else 0.0
    sure = found[0].score >= threshold and found[0].score - second >= margin
    return found[0].skill if sure else NONE


def figures(samples: Sequence[Asked], threshold: float, margin: float) -> tuple[float, ...]:
    """Coverage, precision among what is for a skill, and false accepts of what is for none."""
    got = [(meant, chosen(found, threshold, margin)) for meant, found in samples]
    own = [(meant, skill) for meant, skill in got if meant != NONE]
    routed = [(meant, skill) for meant, skill in own if skill != NONE]
    others = [skill for meant, skill in got if meant == NONE]
    return (
        len(routed) / len(own),
        sum(meant == skill for meant, skill in routed) / max(1, len(routed)),
        sum(skill != NONE for skill in others) / max(1, len(others)),
    )


def tuned(samples: Sequence[Asked]) -> tuple[float, float]:
    """The threshold and margin that most are routed right with; one routed wrong costs two."""

    def worth(bars: tuple[float, float]) -> float:
        coverage, precision, false = figures(samples, *bars)
        return coverage * (precision - 2 * (1 - precision)) - 2 * false

    return max(((one, two) for one in THRESHOLDS for two in MARGINS), key=worth)


def accuracy(samples: Sequence[Asked]) -> float:
    """How often the first skill is the right one, whatever its score."""
    own = [(meant, found) for meant, found in samples if meant != NONE]
    firsts = [(meant, [one.skill for one in found if one.skill != ROOT]) for meant, found in own]
    return sum(bool(skills) and skills[0] == meant for meant, skills in firsts) / len(own)


def measure(engine: str) -> None:
    """Print the figures of one engine."""
    usual = ExamplesSettings(engine=engine).bars()
    for title, training, samples in SETS:
        begun = time.process_time()
        found = asked(engine, utterances(training), utterances(samples))
        spent = time.process_time() - begun
        print(f"{engine}, {title}: {len(found)} utterances, {spent:.1f} s of CPU with training")
        print(f"  accuracy without threshold {accuracy(found):.1%}")
        bars = [("defaults", (usual.threshold, usual.margin))]
        if title == SETS[0][0]:
            bars.append(("best here", tuned(found)))
        for which, (threshold, margin) in bars:
            coverage, precision, false = figures(found, threshold, margin)
            print(
                f"  {which} {threshold}, {margin}: coverage {coverage:.1%},"
                f" precision {precision:.1%}, false accepts {false:.1%}"
            )


def main() -> None:
    """Measure the engines that are named."""
    parser = argparse.ArgumentParser(description=__doc__, prog="scripts/bench examples")
    parser.add_argument("engines", nargs="*", default=["builtin"], metavar="builtin|sklearn")
    for engine in parser.parse_args().engines:
        measure(engine)


if __name__ == "__main__":
    main()
