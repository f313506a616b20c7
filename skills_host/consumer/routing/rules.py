"""Rules: which skills a user's words name, by name, title, alias, phrase or pattern. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

from skills_host.consumer.registry.compile import Skill
from skills_host.consumer.routing.decision import Candidate
from skills_host.consumer.routing.grants import Visible
from skills_host.consumer.routing.patterns import Patterns

__all__ = ["RuleIndex", "words_of"]

MOST = 20  # skills that one message is said to name
Owners = str | tuple[str, ...]

_WORDS = re.compile(r"\w+(?:'\w+)*")


def words_of(text: str) -> str:
    """The words of a text, without case and punctuation, single-spaced.

    However its letters are composed and its apostrophes are curled.
    """
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(_WORDS.findall(plain.replace("’", "'")))


class RuleIndex:
    """The rules of many skills, looked up by the words that are said and not skill by skill."""

    def __init__(self, skills: Mapping[str, Skill]) -> None:
        # Where thousands of skills are known, what the garbage collector looks at is a pause.
        self._said: dict[str, Owners] = {}
        self._lengths: dict[str, tuple[int, ...]] = {}
        self._named: dict[str, Owners] = {}
        self._declared: dict[str, Owners] = {}
        for name, skill in skills.items():
            for words in dict.fromkeys(map(words_of, (name, skill.title, *skill.phrases))):
                self._add(words, name)
            for words in dict.fromkeys(map(words_of, (name, skill.title, *skill.aliases))):
                _own(self._named, words, name)
            for declared in skill.accepts or ():
                _own(self._declared, declared, name)
        self._patterns = Patterns(skills)

    def _add(self, words: str, name: str) -> None:
        if not words:
            return
        _own(self._said, words, name)
        first, length = words.partition(" ")[0], words.count(" ") + 1
        lengths = self._lengths.get(first, ())
        if length not in lengths:
            self._lengths[first] = (*lengths, length)

    def named(self, name: str, visible: Visible) -> tuple[str, ...]:
        """The skills that have exactly this name, title or alias; it is compared as words."""
        return tuple(filter(visible, _owners(self._named, words_of(name))))

    def declaring(self, type: str, name: str, visible: Visible) -> tuple[str, ...]:
        """The skills that say to accept activities of this type, or of this type and name."""
        found = (*_owners(self._declared, f"{type}/{name}"), *_owners(self._declared, type))
        return tuple(filter(visible, dict.fromkeys(found)))

    def found(self, text: str, visible: Visible) -> tuple[Candidate, ...]:
        """The skills that a text names anywhere, as whole words; best first.

        The longest match is the best, with score 1; the others have less by its length.
        """
        best: dict[str, Candidate] = {}
        for name, matched, slots in self._matches(text):
            if (name not in best or len(matched) > best[name].score) and visible(name):
                best[name] = Candidate(name, float(len(matched)), f"“{matched}”", slots)
                if len(best) == MOST:
                    break
        if not best:
            return ()
        longest = max(found.score for found in best.values())
        ranked = sorted(best.values(), key=lambda found: -found.score)
        return tuple(Candidate(c.skill, c.score / longest, c.why, c.slots) for c in ranked)

    def _matches(self, text: str) -> Iterator[tuple[str, str, tuple[tuple[str, str], ...]]]:
        yield from self._patterns.found(unicodedata.normalize("NFKC", text))
        for matched in sorted(self._phrases(words_of(text)), key=len, reverse=True):
            for name in _owners(self._said, matched):
                yield name, matched, ()

    def _phrases(self, said: str) -> Iterable[str]:
        words = said.split(" ")
        for start, first in enumerate(words):
            for length in self._lengths.get(first, ()):
                phrase = " ".join(words[start : start + length])
                if phrase in self._said:
                    yield phrase


def _own(table: dict[str, Owners], words: str, name: str) -> None:
    owners = table.get(words)
    if owners is None:
        table[words] = name
    else:
        table[words] = (owners, name) if isinstance(owners, str) else (*owners, name)


def _owners(table: Mapping[str, Owners], words: str) -> tuple[str, ...]:
    owners = table.get(words, ())
    return (owners,) if isinstance(owners, str) else owners
