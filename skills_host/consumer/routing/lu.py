"""Language-understanding files (`.lu`): the utterances of their intents, for routing. Pure.

Only what routing needs is read: intents, utterances without their labels, optional and alternative
groups, files of the same folder that are imported. Everything is bounded; what is too much is left
out, and what is not understood is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from itertools import islice, product

__all__ = ["NAME", "text_examples", "utterances"]

BYTES = 2 * 1024 * 1024  # of one file
LINES = 200_000
UTTERANCE = 500  # characters
UTTERANCES = 20_000
VARIANTS = 16  # of one utterance with groups
IMPORTS = 20
DEEP = 3

NAME = re.compile(r"(?:\./)?[\w.-]{1,100}\.(?:lu|txt)")
_INTENT = re.compile(r"#{1,6}\s*([^\s#][^#\n]{0,200})$")
_ITEM = re.compile(r"[-*+]\s*(.+)$")
_LINK = re.compile(r"\[[^\]\n]{0,200}\]\(([^)\s]{1,300})\)$")
# The innermost label only: labels nest, and are taken off from the inside.
_LABEL = re.compile(r"\{\s*@?[\w.:-]{1,100}\s*=\s*([^{}]*)\}")
_SLOT = re.compile(r"\{\s*@?[\w.:-]{1,100}\s*(?::[^{}]*)?\}")
_GROUP = re.compile(r"\[([^\[\]{}]{1,200})\]|\(([^()]{1,200}\|[^()]{0,200})\)")

Read = Callable[[str], bytes | None]
"""The content of a file of the same folder by its name; None if there is none."""


def utterances(
    content: bytes, *, intents: Collection[str] = (), read: Read | None = None
) -> list[str]:
    """The utterances of a file, or of these `intents` of it, each once, in order.

    With `read`, files of the same folder that it imports are read too; addresses and other folders
    never are.
    """
    wanted = frozenset(name.casefold() for name in intents)
    found = (
        variant
        for intent, utterance in _imported(content, read, [IMPORTS], DEEP)
        if not wanted or intent.casefold() in wanted
        for variant in _variants(utterance)
    )
    return list(islice(dict.fromkeys(islice(found, UTTERANCES)), UTTERANCES))


def text_examples(content: bytes) -> list[str]:
    """The lines of a text with one example each; those that begin with `#` are comments."""
    lines = (line.strip() for line in _lines(content))
    found = (line[:UTTERANCE] for line in lines if line and not line.startswith("#"))
    return list(dict.fromkeys(islice(found, UTTERANCES)))


def _imported(
    content: bytes, read: Read | None, left: list[int], deep: int
) -> Iterator[tuple[str, str]]:
    """(intent, utterance) of a file, then of what it imports."""
    imports: list[str] = []
    intent = ""
    for line in _lines(content):
        link = _LINK.match(line)
        heading = _INTENT.match(line)
        item = _ITEM.match(line)
        if link is not None:
            imports.append(link.group(1))
        elif heading is not None:
            intent = heading.group(1).strip()
        elif line.startswith(("@", "$", ">")):
            # Entities and comments; what follows in their lists is no utterance.
            intent = intent if line.startswith(">") else ""
        elif item is not None and intent and not _LINK.match(item.group(1)):
            yield intent, item.group(1)
    for name in imports if read is not None and deep > 0 else ():
        if left[0] > 0 and NAME.fullmatch(name):
            left[0] -= 1
            more = read(name.removeprefix("./")) if read is not None else None
            yield from _imported(more or b"", read, left, deep - 1)


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
