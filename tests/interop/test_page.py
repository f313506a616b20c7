"""The page on compatibility says what this session has seen."""

from __future__ import annotations

import pytest

from tests.interop.matrix import PAGE, Observed, page_of

pytestmark = pytest.mark.interop


def test_the_page_says_what_was_observed(observed: Observed, pytestconfig: pytest.Config) -> None:
    """Or it is written, if that is asked for; nothing is said after a part of the matrix."""
    if not observed.is_whole:
        pytest.skip("not every cell of the matrix was tried, or some failed")
    page = page_of(observed)
    if pytestconfig.getoption("--write-compatibility"):
        PAGE.write_text(page, encoding="utf-8")

    assert PAGE.read_text(encoding="utf-8") == page
