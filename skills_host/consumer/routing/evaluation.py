"""How good routing is, held against utterances whose skill is known. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from skills_host.errors import SettingsError

__all__ = ["NONE", "Evaluation", "Sample", "Verdict", "samples_of"]

NONE = "none"


@dataclass(frozen=True, slots=True)
class Sample:
    """An utterance, and the skill that it is for: `none` for the root's own; its line from 1."""

    text: str
    expected: str
    line: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a sample went: to the skill `got`, or to `none`; `kind` is that of the decision."""

    sample: Sample
    got: str
    kind: str

    @property
    def is_right(self) -> bool:
        """True if it went where it should."""
        return self.got == self.sample.expected


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The figures of a set of samples; each is a share from 0 to 1, and 1 of nothing."""

    verdicts: Sequence[Verdict]

    @property
    def accuracy(self) -> float:
        """How many of all samples went where they should, to `none` among them."""
        return _share(sum(one.is_right for one in self.verdicts), len(self.verdicts))

    @property
    def coverage(self) -> float:
        """How many of the samples that are for a skill went to some skill."""
        meant = [one for one in self.verdicts if one.sample.expected != NONE]
        return _share(sum(one.got != NONE for one in meant), len(meant))

    @property
    def precision(self) -> float:
        """How many of the samples that went to some skill went to the right one."""
        routed = [one for one in self.verdicts if one.got != NONE]
        return _share(sum(one.is_right for one in routed), len(routed))

    @property
    def confusion(self) -> dict[str, dict[str, int]]:
        """How many samples of each expected skill went to which, in alphabetical order."""
        counted = Counter((one.sample.expected, one.got) for one in self.verdicts)
        table: dict[str, dict[str, int]] = {}
        for (expected, got), count in sorted(counted.items()):
            table.setdefault(expected, {})[got] = count
        return table

    @property
    def wrong(self) -> tuple[Verdict, ...]:
        """The samples that went where they should not, as they came."""
        return tuple(one for one in self.verdicts if not one.is_right)


def samples_of(text: str, *, source: str) -> tuple[Sample, ...]:
    """The samples of a table: an utterance, a tab, and a skill or `none`, one a line.

    Empty lines and those that begin with `#` do not count. Raises `SettingsError` with the line
    that is something else.
    """
    found = tuple(_samples(text.removeprefix("\ufeff"), source))
    if not found:
        raise SettingsError(f"{source}: no samples")
    return found


def _samples(text: str, source: str) -> Iterator[Sample]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        said, tab, expected = line.partition("\t")
        said, expected = said.strip(), expected.strip()
        if not (tab and said and expected) or "\t" in expected:
            raise SettingsError(f"{source}: line {number}: expected UTTERANCE, a tab, SKILL")
        yield Sample(said, expected, number)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
