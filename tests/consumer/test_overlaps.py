"""Whatever overlaps: nothing is lost or doubled, order holds, and nobody is trapped."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

import skills_host.app
from tests.consumer.overlaps import Overlaps
from tests.world import Lab


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for what is due all the time."""
    monkeypatch.setattr(skills_host.app, "ROUND_SECONDS", 0.01)


def run(lab: Lab, examples: int, steps: int) -> None:
    chosen = settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    # Anything that makes a machine is taken, whatever the annotation says.
    run_state_machine_as_test(lambda: Overlaps(lab), settings=chosen)  # type: ignore[arg-type]


def test_a_few(lab: Lab) -> None:
    run(lab, 6, 12)


@pytest.mark.durability
@pytest.mark.timeout(600)
def test_many(lab: Lab) -> None:
    run(lab, 150, 40)
