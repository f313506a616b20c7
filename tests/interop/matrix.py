"""What is tried with every peer in every role, what was observed, and the page that says so."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.interop.cast import DELIVERIES, PEERS, peer_root, skill_name, via
from tests.interop.processes import REPOSITORY
from tests.interop.world import InteropWorld, Talk

__all__ = ["PAGE", "ROLES", "ROWS", "Cell", "Key", "Observed", "page_of"]

PAGE = REPOSITORY / "docs" / "compatibility.md"
CANNOT = REPOSITORY / "tests" / "peers" / "cannot.json"

ROLES = {
    "skill": "Skills on these SDKs, called by our root",
    "consumer": "Consumers on these SDKs, calling our skill",
    "middle": "Bots on these SDKs in the middle: our root calls them, and they call our skill",
}
ROWS = {
    "text": "text over several turns, with state",
    "card": "attachments and cards",
    "actions": "suggested actions",
    "data": "channelData and entities intact",
    "event": "event in and out",
    "invoke": "invoke with response",
    "end": "end with value",
    "cancel": "cancel from the root",
    "change": "update and delete",
    "members": "members, and one of them",
    "proactive": "proactive, until the end",
}
# Where the list of what cannot be done has a role's entries: the peer's own, then our skill's.
SOURCES = {
    "skill": (("{peer}", "skill"),),
    "consumer": (("{peer}", "root"), ("ours", "skill")),
    "middle": (("{peer}", "middle"), ("{peer}", "root"), ("ours", "skill")),
}
INTRODUCTION = """\
# Which SDK can do what with us

The interop tests try each of these with real processes, real tokens and published SDKs, and write
this page (`scripts/test -m interop --write-compatibility`); without that option they fail where it
does not say what they see. [lab.md](lab.md) has the versions, how each SDK is set up, and what had
to be worked round. *cannot*: the SDK itself does not do it; the tests hold it to what it does
instead, which the note says. *partly*: some of it works. Everything else works unchanged.
"""

Key = tuple[str, str, str, str]
Entry = Mapping[str, Any]


@dataclass(slots=True)
class Observed:
    """What the session has seen: notes on each cell that passed, and the chains that did."""

    cells: dict[Key, list[str]] = field(default_factory=dict)
    partly: set[Key] = field(default_factory=set)
    failed: set[Key] = field(default_factory=set)
    chains: dict[str, str] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """True if every cell was tried, and passed."""
        return self.cells.keys() == set(_keys()) and bool(self.chains)


@dataclass(slots=True)
class Cell:
    """One user's conversation for one row: a peer in a role, and how answers come back."""

    world: InteropWorld
    role: str
    peer: str
    delivery: str
    row: str
    talk: Talk
    notes: list[str] = field(default_factory=list)
    worked: int = 0

    @property
    def key(self) -> Key:
        """Which cell of the page it is."""
        return (self.row, self.role, self.peer, self.delivery)

    @property
    def skill(self) -> str:
        """The bot that answers in the end."""
        return self.peer if self.role == "skill" else "ours"

    @property
    def caller(self) -> str:
        """The bot that calls the skill."""
        return "root" if self.role == "skill" else peer_root(self.peer, self.delivery)

    @property
    def called(self) -> str:
        """What our root calls the bot that it calls; what a peer's user says first otherwise."""
        if self.role == "skill":
            return skill_name(self.peer, self.delivery)
        return "hello there" if self.role == "consumer" else via(self.caller)

    async def say(self, *texts: str) -> list[str]:
        """What the user hears, saying one thing after the other."""
        return [heard for text in texts for heard in await self.talk.say(text)]

    def check(self, word: str, observed: Any, works: Any) -> None:
        """Assert what works, or what the peer does instead where it is known that it cannot."""
        cannot = _cannot(self, word, is_fine=observed == works)
        if cannot is None:
            self.worked += 1
            assert observed == works, f"{self.key}: {word}"
            return
        assert observed == cannot["shows"], f"{self.key}: {word} is not as in {CANNOT.name}"
        if cannot["why"] not in self.notes:
            self.notes.append(cannot["why"])

    def keep_in(self, observed: Observed, *, passed: bool) -> None:
        """Remember what became of the cell."""
        if not passed:
            observed.failed.add(self.key)
            return
        observed.cells[self.key] = self.notes
        if self.notes and self.worked:
            observed.partly.add(self.key)


def page_of(observed: Observed) -> str:
    """The page as Markdown; without the rows and roles that nothing was tried of."""
    parts = [INTRODUCTION]
    tried = {key[1] for key in (*observed.cells, *observed.failed)}
    for role in filter(tried.__contains__, ROLES):
        parts.append(f"\n## {ROLES[role]}\n\n" + "\n".join(_table(observed, role)) + "\n")
    parts.append("\n## Longer chains of different SDKs\n\n| from the user on | |\n|---|---|\n")
    parts.extend(f"| {chain} | {outcome} |\n" for chain, outcome in sorted(observed.chains.items()))
    return "".join(parts)


def _table(observed: Observed, role: str) -> Iterator[str]:
    columns = [(peer, delivery) for peer in PEERS for delivery in DELIVERIES]
    notes: dict[str, list[str]] = {}
    yield f"| | {' | '.join(f'{peer} {delivery}' for peer, delivery in columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    for row, title in ROWS.items():
        keys = [(row, role, *column) for column in columns]
        if observed.failed.union(observed.cells).intersection(keys):
            cells = (_shown(observed, key, notes) for key in keys)
            yield f"| {title} | {' | '.join(cells)} |"
    yield ""
    for number, (note, peers) in enumerate(notes.items(), 1):
        yield f"{number}. {', '.join(peers)}: {note}"


def _shown(observed: Observed, key: Key, notes: dict[str, list[str]]) -> str:
    """One cell; its notes get numbers, and the peers that they are about, in order."""
    found = observed.cells.get(key)
    if found is None:
        return "**fails**" if key in observed.failed else "not tried"
    if not found:
        return "works"
    for note in found:
        peers = notes.setdefault(note, [])
        peers.extend({key[2]}.difference(peers))
    numbers = (str(1 + list(notes).index(note)) for note in found)
    return f"{'partly' if key in observed.partly else 'cannot'} ({', '.join(numbers)})"


def _keys() -> Iterator[Key]:
    for row in ROWS:
        for role in ROLES:
            yield from ((row, role, peer, delivery) for peer in PEERS for delivery in DELIVERIES)


def _cannot(cell: Cell, word: str, *, is_fine: bool) -> Entry | None:
    """What the list says about a word, the most particular entry first; null says that it works.

    An entry for a whole delivery counts where something did not work.
    """
    names = (f"{word}.{cell.delivery}", word, *(() if is_fine else (cell.delivery,)))
    listed = json.loads(CANNOT.read_text(encoding="utf-8"))
    for bot, role in SOURCES[cell.role]:
        entries = listed[bot.format(peer=cell.peer)].get(role, {})
        for name in filter(entries.__contains__, names):
            entry: Entry | None = entries[name]
            return entry
    return None
