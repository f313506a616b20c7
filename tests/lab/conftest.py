"""Fixtures of the lab's tests."""

from __future__ import annotations

import pytest

from skills_host.lab.authority import Authority
from tests.lab.world import Clock, authority_at


@pytest.fixture(scope="session")
def clock() -> Clock:
    """A clock that stands still for all tests that do not make their own."""
    return Clock()


@pytest.fixture(scope="session")
def authority(clock: Clock) -> Authority:
    """One authority for all tests that do not rotate its keys."""
    return authority_at(clock)
