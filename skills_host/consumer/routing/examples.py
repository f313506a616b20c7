"""Examples: which skill's utterances are nearest to what a user says (TF-IDF, k neighbours). Pure.

What is said to the root itself, and small talk, is a class of its own: a threshold alone does not
keep “thank you” from some skill. What many skills' examples have in common counts little.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.routing.decision import Candidate
from skills_host.consumer.routing.grants import Visible
from skills_host.consumer.routing.rules import words_of
from skills_host.consumer.routing.small_talk import SMALL_TALK

__all__ = ["ROOT", "SAMPLED", "Example", "ExampleIndex", "examples_of", "features"]

ROOT = ""  # the class of what is for no skill
SAMPLED = 300  # utterances of a skill that are compared with; more add time and little else
NEIGHBOURS = 30
OF_ONE = 3  # neighbours of one skill that count
SHARED = 0.1  # what is left of a feature's weight that all skills have alike
# A feature of more examples than this tells nothing, and would make every decision slow.
COMMON = 2000
SPOKEN = 500  # characters of an utterance that are compared

Example = tuple[str, str, str]
"""(skill, locale, utterance)"""


def examples_of(skills: Mapping[str, Skill]) -> list[Example]:
    """The examples of all skills that have any, so many of each; then those of the root.

    After those that are registered with a skill come the utterances of its manifest's language
    files, of the intents that the manifest names.
    """
    found = [
        (name, locale.lower().replace("_", "-"), text)
        for name, skill in skills.items()
        for locale, text in _sampled(_said_for(skill))
    ]
    return found and [*found, *((ROOT, "", text) for text in SMALL_TALK)]


def features(text: str) -> Iterator[str]:
    """Words, pairs of words, and three letters each; of scripts without spaces, one and two."""
    words = words_of(text[:SPOKEN]).split(" ")
    for word, after in zip(words, [*words[1:], ""], strict=True):
        yield f"w{word}"
        if after:
            yield f"w{word} {after}"
        if word and word[0] >= "\u3040":
            yield from word
            yield from map("".join, zip(word, word[1:], strict=False))
        else:
            padded = f" {word} "
            for start in range(len(padded) - 2):
                yield padded[start : start + 3]


class ExampleIndex:
    """The examples of many skills, each a vector of its features' weights."""

    def __init__(self, examples: Sequence[Example]) -> None:
        counted = [Counter(features(text)) for _, _, text in examples]
        frequency = Counter(name for counts in counted for name in counts)
        telling = _telling(examples, counted)
        total = len(examples)
        self._examples = examples
        self._languages = [_language(locale) for _, locale, _ in examples]
        self._idf = {
            name: telling[name] * (1.0 + math.log((1 + total) / (1 + count)))
            for name, count in frequency.items()
            if count <= COMMON
        }
        self._postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for index, counts in enumerate(counted):
            for name, weight in self._vector(counts):
                self._postings[name].append((index, weight))

    def found(
        self, text: str, visible: Visible, *, locale: str = "", but: int | None = None
    ) -> tuple[Candidate, ...]:
        """The skills of the nearest examples, best first; the root's class as `ROOT`.

        Only examples in the user's language count, of whatever region, where that is known. A
        score is 1 less the product of what the nearest three of a skill lack in similarity: one
        that is equal makes it 1, and several that are alike more than the best of them. `but`
        leaves one out.
        """
        lacks: dict[str, list[float]] = defaultdict(list)
        best: dict[str, str] = {}
        for index, similarity in self._near(text, visible, locale, but):
            skill, _, example = self._examples[index]
            best.setdefault(skill, example)
            if len(lacks[skill]) < OF_ONE:
                lacks[skill].append(max(0.0, 1.0 - similarity))
        found = (
            Candidate(skill, round(1.0 - math.prod(lack), 4), f"like “{best[skill]}”")
            for skill, lack in lacks.items()
        )
        return tuple(sorted(found, key=lambda candidate: -candidate.score))

    def _near(
        self, text: str, visible: Visible, locale: str, but: int | None
    ) -> list[tuple[int, float]]:
        """(index, similarity) of the nearest examples that may count."""
        similarities: dict[int, float] = defaultdict(float)
        for name, weight in self._vector(Counter(features(text))):
            for index, other in self._postings.get(name, ()):
                similarities[index] += weight * other
        speaks = _language(locale)
        seen = {ROOT: True}
        near: list[tuple[int, float]] = []
        for index, similarity in sorted(similarities.items(), key=lambda found: -found[1]):
            skill = self._examples[index][0]
            if skill not in seen:
                seen[skill] = visible(skill)
            is_understood = not speaks or self._languages[index] in ("", speaks)
            if seen[skill] and index != but and is_understood:
                near.append((index, similarity))
                if len(near) == NEIGHBOURS:
                    break
        return near

    def _vector(self, counts: Mapping[str, int]) -> list[tuple[str, float]]:
        weights = [
            (name, (1.0 + math.log(count)) * self._idf[name])
            for name, count in counts.items()
            if name in self._idf
        ]
        length = math.sqrt(sum(weight * weight for _, weight in weights))
        return [(name, weight / length) for name, weight in weights]


def _telling(examples: Sequence[Example], counted: Sequence[Counter[str]]) -> dict[str, float]:
    """How far each feature tells skills apart: 1 if one alone has it, least if all have it alike.

    By the entropy of the shares of each skill's examples that have it.
    """
    of: dict[str, list[Counter[str]]] = defaultdict(list)
    for (skill, _, _), counts in zip(examples, counted, strict=True):
        of[skill].append(counts)
    total: dict[str, float] = defaultdict(float)
    spread: dict[str, float] = defaultdict(float)
    for own in of.values():
        for name, count in Counter(chain.from_iterable(own)).items():
            share = count / len(own)
            total[name] += share
            spread[name] += share * math.log(share)
    most = math.log(max(2, len(of)))
    return {
        name: 1.0 - (1.0 - SHARED) * (math.log(whole) - spread[name] / whole) / most
        for name, whole in total.items()
    }


def _language(locale: str) -> str:
    """The language of a locale in lower case: regions of one language understand each other."""
    return locale.replace("_", "-").partition("-")[0].lower()


def _said_for(skill: Skill) -> Mapping[str, Sequence[str]]:
    """The examples of a skill by locale, each once."""
    if not skill.languages:
        return skill.examples
    intents = skill.manifest.intents if skill.manifest is not None else ()
    said = {locale: list(texts) for locale, texts in skill.examples.items()}
    for locale, files in skill.languages.items():
        read = [text for file in files for text in file.utterances(intents=intents)]
        said[locale] = list(dict.fromkeys([*said.get(locale, ()), *read]))
    return said


def _sampled(examples: Mapping[str, Sequence[str]]) -> Iterable[tuple[str, str]]:
    """At most so many examples of a skill, from all of its list."""
    every = [(locale, text) for locale, texts in examples.items() for text in texts]
    step = max(1.0, len(every) / SAMPLED)
    return (every[int(index * step)] for index in range(min(len(every), SAMPLED)))
