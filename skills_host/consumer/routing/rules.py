"""Rules: which skills a user's words name, by name, title or registered phrase. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

from skills_host.consumer.registry.compile import Skill

__all__ = ["matches", "words_of"]

_WORDS = re.compile(r"\w+(?:'\w+)*")


def words_of(text: str) -> str:
    """The words of a text, without case and punctuation, single-spaced.

    However its letters are composed and its apostrophes are curled.
    """
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(_WORDS.findall(plain.replace("’", "'")))


def matches(text: str, skills: Mapping[str, Skill]) -> list[tuple[str, str]]:
    """(skill, what matched) for each skill that the text names, best first.

    A skill is named by its name, its title, or one of its phrases anywhere in the text, as whole
    words; the longest phrase is the best.
    """
    said = f" {words_of(text)} "
    found = [
        (name, best) for name, skill in skills.items() if (best := _best(said, _names(name, skill)))
    ]
    return sorted(found, key=lambda match: -len(match[1]))


def _names(name: str, skill: Skill) -> Iterable[str]:
    return (name, skill.title, *skill.phrases)


def _best(said: str, names: Iterable[str]) -> str:
    folded = (words_of(name) for name in names)
    return max((name for name in folded if name and f" {name} " in said), key=len, default="")
