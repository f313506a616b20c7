"""One thing that was looked at, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Health", "Row", "worst"]


class Health(StrEnum):
    """What came of a check; `skipped` means that something else has to be mended, or run, first."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Row:
    """A check by name; `code`, `detail` and `fix` are empty where all is well."""

    name: str
    health: Health = Health.OK
    code: str = ""
    detail: str = ""
    fix: str = ""


ORDER = tuple(Health)


def worst(rows: Iterable[Row]) -> Health:
    """The worst of what came of the checks."""
    return max((row.health for row in rows), key=ORDER.index, default=Health.OK)
