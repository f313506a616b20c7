"""How good the nearest examples are on utterances that nothing was tuned on.

`scripts/bench examples` chooses threshold and margin on a part of the training utterances that it
keeps apart, and prints figures of the held-out ones, at those and at the defaults.
"""

from __future__ import annotations

import argparse
import random
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
SEED = 1
KEPT = 5  # one of so many training utterances is for choosing
THRESHOLDS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
MARGINS = (0.0, 0.02, 0.04, 0.06, 0.1, 0.15, 0.2)

Asked = tuple[str, tuple[Candidate, ...]]
"""Whom an utterance is for, and what was found."""


def utterances(name: str) -> list[Example]:
    """The utterances of one of the files."""
    lines = (FOLDER / name).read_text().splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return [(skill, "", text) for skill, texts in rows for text in texts.split("|")]


def asked(
    engine: str,
    known: Sequence[Example],
    samples: Sequence[Example],
    small_talk: Sequence[str] = SMALL_TALK,
) -> list[Asked]:
    """What is found for samples by what knows these examples, and small talk."""
    index = nearest([*known, *((ROOT, "", text) for text in small_talk)], engine=engine)
    if index is None:
        return []
    begun = time.process_time()
    found = [(skill, index.found(text, lambda _: True)) for skill, _, text in samples]
    spent = (time.process_time() - begun) / len(samples)
    print(f"  {len(samples)} utterances, {spent * 1000:.2f} ms of CPU each")
    return found


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
    training, small_talk = utterances("training.tsv"), list(SMALL_TALK)
    chance = random.Random(SEED)
    chance.shuffle(training)
    chance.shuffle(small_talk)
    skills, others = len(training) // KEPT, len(small_talk) // KEPT
    apart = [*training[:skills], *((NONE, "", text) for text in small_talk[:others])]
    print(f"{engine}, development set")
    bars = tuned(asked(engine, training[skills:], apart, small_talk[others:]))
    print(f"{engine}, held-out set")
    held_out = asked(engine, training, utterances("held_out.tsv"))
    print(f"  accuracy without threshold {accuracy(held_out):.1%}")
    defaults = ExamplesSettings()
    for title, (threshold, margin) in (
        ("defaults", (defaults.threshold, defaults.margin)),
        ("as chosen", bars),
    ):
        coverage, precision, false = figures(held_out, threshold, margin)
        print(
            f"  {title}: threshold {threshold}, margin {margin}: coverage {coverage:.1%},", end=""
        )
        print(f" precision {precision:.1%}, false accepts {false:.1%}")


def main() -> None:
    """Measure the engines that are named."""
    parser = argparse.ArgumentParser(description=__doc__, prog="scripts/bench examples")
    parser.add_argument("engines", nargs="*", default=["builtin"], metavar="builtin|sklearn")
    for engine in parser.parse_args().engines:
        measure(engine)


if __name__ == "__main__":
    main()
