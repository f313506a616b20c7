"""Examples: which skill's utterances are nearest to what a user says (TF-IDF, k neighbours). Pure.

What is said to the root itself, and small talk, is a class of its own: a threshold alone does not
keep “thank you” from some skill. What many skills' examples have in common counts little.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

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
        self._sizes = Counter(skill for skill, _, _ in examples)
        self._shares = _shares(examples, counted, self._sizes)
        self._most = math.log(max(2, len(self._sizes)))
        self._examples = examples
        self._languages = [_language(locale) for _, locale, _ in examples]
        self._idf = {
            name: self._weight(count, *self._shares[name])
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
        similarities = self._similarities(text, but)
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

    def _similarities(self, text: str, but: int | None) -> Mapping[int, float]:
        """That of each example with anything in common, as if `but` had never been there."""
        left = {} if but is None else self._left_without(but)
        similarities: dict[int, float] = defaultdict(float)
        longer: dict[int, float] = defaultdict(float)
        for name, weight in self._vector(Counter(features(text)), left):
            ratio = left.get(name, 1.0)
            for index, other in self._postings.get(name, ()):
                similarities[index] += weight * other * ratio
                if ratio != 1.0:
                    longer[index] += other * other * (ratio * ratio - 1.0)
        for index, square in longer.items():
            similarities[index] /= math.sqrt(1.0 + square)
        return similarities

    def _left_without(self, but: int) -> Mapping[str, float]:
        """What the weights of an example's features would be without it, in parts of what they are.

        Else it would tell of itself: what it alone shares with others would be common to all.
        """
        skill = self._examples[but][0]
        size = self._sizes[skill]
        left = {}
        for name in set(features(self._examples[but][2])) & self._idf.keys():
            having = self._postings[name]
            own = sum(self._examples[index][0] == skill for index, _ in having)
            whole, spread = self._shares[name]
            before, after = own / size, (own - 1) / size
            whole += after - before
            spread += _times_log(after) - _times_log(before)
            alone = len(having) == 1
            weight = 0.0 if alone else self._weight(len(having) - 1, whole, spread)
            left[name] = weight / self._idf[name]
        return left

    def _weight(self, count: int, whole: float, spread: float) -> float:
        """That of a feature of so many examples: the more, the rarer, and the fewer skills have it.

        By the entropy of the shares of each skill's examples that have it: `whole` is their sum,
        `spread` that of each times its logarithm.
        """
        rare = 1.0 + math.log((1 + len(self._examples)) / (1 + count))
        return rare * (1.0 - (1.0 - SHARED) * (math.log(whole) - spread / whole) / self._most)

    def _vector(
        self, counts: Mapping[str, int], left: Mapping[str, float] = MappingProxyType({})
    ) -> list[tuple[str, float]]:
        weights = [
            (name, (1.0 + math.log(count)) * self._idf[name] * left.get(name, 1.0))
            for name, count in counts.items()
            if name in self._idf
        ]
        length = math.sqrt(sum(weight * weight for _, weight in weights)) or 1.0
        return [(name, weight / length) for name, weight in weights]


def _shares(
    examples: Sequence[Example], counted: Sequence[Counter[str]], sizes: Mapping[str, int]
) -> Mapping[str, tuple[float, float]]:
    """Of each feature, as `_weight` takes them: the sum of the shares, and how they are spread."""
    of: dict[str, Counter[str]] = defaultdict(Counter)
    whole: dict[str, float] = defaultdict(float)
    spread: dict[str, float] = defaultdict(float)
    for (skill, _, _), counts in zip(examples, counted, strict=True):
        of[skill].update(counts.keys())
    for skill, own in of.items():
        for name, count in own.items():
            share = count / sizes[skill]
            whole[name] += share
            spread[name] += _times_log(share)
    return {name: (share, spread[name]) for name, share in whole.items()}


def _times_log(share: float) -> float:
    return share * math.log(share) if share > 0 else 0.0


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
