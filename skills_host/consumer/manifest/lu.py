"""Language-understanding files (`.lu`): the utterances of their intents, for routing. Pure.

Only what routing needs is read: intents, utterances without their labels, optional and alternative
groups, files of the same folder that are imported, and utterances of theirs that are referred to.
Everything is bounded; what is too much is left out, and what is not understood is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, product

__all__ = ["DEEP", "IMPORTS", "NAME", "LanguageText", "linked", "text_examples", "utterances"]

BYTES = 2 * 1024 * 1024  # of one file
LINES = 200_000
UTTERANCE = 500  # characters
UTTERANCES = 20_000
VARIANTS = 16  # of one utterance with groups
IMPORTS = 20  # files that one leads to
DEEP = 3  # links from one to the next
REFERENCES = 200  # that are followed, from a file and all that it leads to

NAME = re.compile(r"(?:\./)?[\w.-]{1,100}\.(?:lu|txt)")
_INTENT = re.compile(r"#{1,6}\s*([^\s#][^#\n]{0,200})$")
# What refers to all of a file, where others name an intent.
_ALL = ("*utterances*", "*utterancesandpatterns*")
_ITEM = re.compile(r"[-*+]\s*(.+)$")
_LINK = re.compile(r"\[[^\]\n]{0,200}\]\(([^)\s]{1,300})\)$")
# The innermost label only: labels nest, and are taken off from the inside.
_LABEL = re.compile(r"\{\s*@?[\w.:-]{1,100}\s*=\s*([^{}]*)\}")
_SLOT = re.compile(r"\{\s*@?[\w.:-]{1,100}\s*(?::[^{}]*)?\}")
_GROUP = re.compile(r"\[([^\[\]{}]{1,200})\]|\(([^()]{1,200}\|[^()]{0,200})\)")

Read = Callable[[str], bytes | None]
"""The content of a file of the same folder by its name; None if there is none."""


@dataclass(frozen=True, slots=True)
class LanguageText:
    """The text of a file, and of those of the same folder that it leads to, by their names."""

    text: str
    beside: Mapping[str, str] = field(default_factory=dict)

    def utterances(self, *, intents: Collection[str] = ()) -> list[str]:
        """The utterances of it, or of these `intents`."""
        return utterances(self.text.encode(), intents=intents, read=self._read)

    def _read(self, name: str) -> bytes | None:
        found = self.beside.get(name)
        return None if found is None else found.encode()


def utterances(
    content: bytes, *, intents: Collection[str] = (), read: Read | None = None
) -> list[str]:
    """The utterances of a file, or of these `intents` of it, each once, in order.

    With `read`, files of the same folder that it imports or refers to are read too; addresses and
    other folders never are.
    """
    wanted = frozenset(name.casefold() for name in intents)
    every = _Files(read).said(_parsed(content), DEEP)
    found = (
        variant
        for intent, utterance in islice(every, LINES)
        if not wanted or intent.casefold() in wanted
        for variant in _variants(utterance)
    )
    return list(islice(dict.fromkeys(islice(found, UTTERANCES)), UTTERANCES))


def linked(content: bytes) -> list[str]:
    """The other files that a file imports or refers to, as they are written there, each once."""
    file = _parsed(content)
    links = [*file.imports, *(_link(text) for _, text in file.items)]
    return list(dict.fromkeys(filter(None, (link.partition("#")[0] for link in links))))


def text_examples(content: bytes) -> list[str]:
    """The lines of a text with one example each; those that begin with `#` are comments."""
    lines = (line.strip() for line in _lines(content))
    found = (line[:UTTERANCE] for line in lines if line and not line.startswith("#"))
    return list(dict.fromkeys(islice(found, UTTERANCES)))


@dataclass(frozen=True, slots=True)
class _File:
    """What is in one file: what it imports, and its (intent, utterance or link)."""

    imports: list[str]
    items: list[tuple[str, str]]


class _Files:
    """Follows what files lead to: each is imported once, so many are read at all."""

    def __init__(self, read: Read | None) -> None:
        self._read = read
        self._files: dict[str, _File] = {}
        self._imported: set[str] = set()
        self._references = REFERENCES

    def said(self, file: _File, deep: int) -> Iterator[tuple[str, str]]:
        """(intent, utterance) of a file, then of what it imports."""
        for intent, text in file.items:
            if link := _link(text):
                for utterance in self._referred(link, file, deep):
                    yield intent, utterance
            else:
                yield intent, text
        for name in file.imports if deep > 0 else ():
            more = self._file(name)
            if more is not None and name.removeprefix("./") not in self._imported:
                self._imported.add(name.removeprefix("./"))
                yield from self.said(more, deep - 1)

    def _referred(self, link: str, here: _File, deep: int) -> Iterator[str]:
        """The utterances of an intent of this file or of another, or of all of them."""
        name, _, wanted = link.partition("#")
        file = self._file(name) if name else here
        if file is None or deep == 0 or self._references == 0:
            return
        self._references -= 1
        for intent, text in file.items:
            if wanted.casefold() not in (intent.casefold(), *_ALL):
                continue
            if further := _link(text):
                yield from self._referred(further, file, deep - 1)
            else:
                yield text

    def _file(self, name: str) -> _File | None:
        if self._read is None or not NAME.fullmatch(name):
            return None
        name = name.removeprefix("./")
        if name not in self._files and len(self._files) < IMPORTS:
            self._files[name] = _parsed(self._read(name) or b"")
        return self._files.get(name)


def _parsed(content: bytes) -> _File:
    file = _File([], [])
    intent = ""
    for line in _lines(content):
        heading = _INTENT.match(line)
        item = _ITEM.match(line)
        if link := _link(line):
            file.imports.append(link)
        elif heading is not None:
            intent = heading.group(1).strip()
        elif line.startswith(("@", "$", ">")):
            # Entities and comments; what follows in their lists is no utterance.
            intent = intent if line.startswith(">") else ""
        elif item is not None and intent:
            file.items.append((intent, item.group(1)))
    return file


def _link(text: str) -> str:
    """What a line or an item that is a link leads to; empty for any other."""
    found = _LINK.match(text)
    return "" if found is None else found.group(1)


def _lines(content: bytes) -> Iterator[str]:
    text = content[:BYTES].decode("utf-8-sig", errors="replace")
    return (line.strip() for line in islice(text.splitlines(), LINES))


def _variants(utterance: str) -> Iterator[str]:
    """An utterance without labels and slots, in all its forms, up to a bound."""
    text = utterance[:UTTERANCE]
    for _ in range(10):
        text, count = _LABEL.subn(r"\1", text)
        if not count:
            break
    text = _SLOT.sub(" ", text)
    parts: list[tuple[str, ...]] = []
    end = 0
    for group in _GROUP.finditer(text):
        parts.append((text[end : group.start()],))
        optional, either = group.groups()
        parts.append((*(optional or either).split("|"), *(("",) if optional else ())))
        end = group.end()
    parts.append((text[end:],))
    for variant in islice(product(*parts), VARIANTS):
        said = " ".join("".join(variant).split())
        if any(letter.isalnum() for letter in said):
            yield said
