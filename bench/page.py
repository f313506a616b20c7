"""`docs/performance.md`: the tables of the last run, and what the last few say of the targets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.report import Measured, as_table
from bench.verdict import Verdict, as_verdict_table

__all__ = ["write_page"]

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
KEPT = 3
_RESULTS = re.compile(r"(?<=<!-- results -->\n).*?(?=<!-- end of results -->)", re.DOTALL)
_RUN = re.compile(r"^### Run of .*?(?=^### |\Z)", re.DOTALL | re.MULTILINE)


def write_page(
    *, conditions: dict[str, Any], measured: Measured, verdicts: Sequence[Verdict]
) -> None:
    """Put a run on the page, before the earlier ones, of which the last two stay."""
    page = PAGE.read_text(encoding="utf-8")
    found = _RESULTS.search(page)
    if found is None:
        raise RuntimeError(f"{PAGE} has no place for results")
    about = ", ".join(f"{name} {value}" for name, value in conditions.items() if name != "date")
    run = f"### Run of {conditions['date']}\n\n{about}\n\n{as_verdict_table(verdicts)}\n\n"
    earlier = _RUN.findall(found[0].partition("## Figures of the last run")[0])
    runs = "".join([run, *earlier][:KEPT])
    figures = f"## Figures of the last run\n\n{as_table(measured)}\n\n"
    PAGE.write_text(_RESULTS.sub(lambda _: f"\n{runs}{figures}", page), encoding="utf-8")
