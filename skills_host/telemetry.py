"""What the host tells of itself in numbers: each instrument is declared once, here.

What is recorded goes to OpenTelemetry, whose SDK and exporters are the operator's choice (without
an SDK in the process that does nothing), and is kept to be read as `/metrics`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from opentelemetry.metrics import get_meter

__all__ = [
    "BOUNDS",
    "BREAKER",
    "CALLS",
    "COORDINATION",
    "EXPIRES_IN",
    "INSTRUMENTS",
    "LANES",
    "LEASES_LOST",
    "OUTBOX_DEAD",
    "OUTBOX_OLDEST",
    "OUTBOX_WAITING",
    "REFUSALS",
    "STORE",
    "TAKEN_UP",
    "TURNED_AWAY",
    "TURNS",
    "TURNS_OPEN",
    "Instrument",
    "Kind",
    "Series",
    "Telemetry",
]

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
MOST = 1000  # series of one instrument; what is beyond is counted as one
BEYOND = "beyond"


class Kind(StrEnum):
    """A sum that grows; a value that comes and goes; how long things took, by `BOUNDS`."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, eq=False)
class Instrument:
    """One thing that is told. Its labels' values come from settings and tables of the code only:
    no ids of users or conversations, no secrets."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""


TURNS = Instrument(
    "skills_host.turn.duration",
    Kind.HISTOGRAM,
    "Turns that were handled, with the time from their arrival to their answer.",
    ("bot", "outcome"),
    "s",
)
TURNS_OPEN = Instrument(
    "skills_host.turns.open", Kind.GAUGE, "Turns that this process has in work.", ("bot",)
)
TURNED_AWAY = Instrument(
    "skills_host.turns.turned_away",
    Kind.COUNTER,
    "Deliveries that were not taken in, by the code that they were answered with.",
    ("bot", "code"),
)
TAKEN_UP = Instrument(
    "skills_host.turns.taken_up",
    Kind.COUNTER,
    "Turns that another process had left and this one has taken up.",
    ("bot",),
)
LANES = Instrument(
    "skills_host.lanes.waiting",
    Kind.GAUGE,
    "Sessions in which a turn of this process waits for the one before it.",
    ("bot",),
)
LEASES_LOST = Instrument(
    "skills_host.leases.lost",
    Kind.COUNTER,
    "Work that this process had and that another has now, because it was not renewed in time.",
    ("kind",),
)
REFUSALS = Instrument(
    "skills_host.refusals", Kind.COUNTER, "Callers that were refused, by code.", ("code",)
)
CALLS = Instrument(
    "skills_host.skill.call.duration",
    Kind.HISTOGRAM,
    "Calls to skills, with the time until their answer; the outcome is ok or the failure's code.",
    ("skill", "outcome"),
    "s",
)
COORDINATION = Instrument(
    "skills_host.coordination.reached",
    Kind.GAUGE,
    "Whether other processes are told through Redis: 1, or 0 while it is away.",
)
BREAKER = Instrument(
    "skills_host.skill.breaker",
    Kind.GAUGE,
    "Whether a skill is called: 0 yes, 1 one call tries it, 2 it is left alone.",
    ("skill",),
)
OUTBOX_WAITING = Instrument(
    "skills_host.outbox.waiting",
    Kind.GAUGE,
    "Activities in the store that are to be sent later (those of the first 200 conversations).",
    ("bot",),
)
OUTBOX_DEAD = Instrument(
    "skills_host.outbox.dead",
    Kind.GAUGE,
    "Activities in the store that nobody tries to send any more (at most 1000 are counted).",
    ("bot",),
)
OUTBOX_OLDEST = Instrument(
    "skills_host.outbox.oldest",
    Kind.GAUGE,
    "How long the oldest activity waits that is to be sent later; 0 if none does.",
    ("bot",),
    "s",
)
STORE = Instrument(
    "skills_host.store.duration",
    Kind.HISTOGRAM,
    "Commits of the store, with the time that they took.",
    ("operation", "outcome"),
    "s",
)
EXPIRES_IN = Instrument(
    "skills_host.certificate.expires_in",
    Kind.GAUGE,
    "How long a bot's certificate is still valid; negative once it has expired.",
    ("bot",),
    "s",
)

INSTRUMENTS = (
    TURNS,
    TURNS_OPEN,
    TURNED_AWAY,
    TAKEN_UP,
    LANES,
    LEASES_LOST,
    REFUSALS,
    CALLS,
    BREAKER,
    COORDINATION,
    OUTBOX_WAITING,
    OUTBOX_DEAD,
    OUTBOX_OLDEST,
    STORE,
    EXPIRES_IN,
)


@dataclass(slots=True)
class Series:
    """What one instrument has recorded with the same labels.

    `value` is the sum of a counter or histogram, or a gauge's last value; `buckets` has a count
    for each of `BOUNDS` and one for what is beyond.
    """

    labels: tuple[str, ...]
    attributes: dict[str, str]
    value: float = 0.0
    buckets: list[int] = field(default_factory=list)


class Telemetry:
    """The numbers of one process; belongs to one event loop."""

    def __init__(self) -> None:
        self._series: dict[Instrument, dict[tuple[str, ...], Series]] = {
            instrument: {} for instrument in INSTRUMENTS
        }

    def count(self, instrument: Instrument, *labels: str) -> None:
        """Add one to a counter."""
        series = self._of(instrument, labels)
        series.value += 1
        _FORWARDED[instrument].add(1, series.attributes)

    def took(self, instrument: Instrument, seconds: float, *labels: str) -> None:
        """Note in a histogram how long something took."""
        series = self._of(instrument, labels)
        series.value += seconds
        series.buckets[bisect_left(BOUNDS, seconds)] += 1
        _FORWARDED[instrument].record(seconds, series.attributes)

    def set(self, instrument: Instrument, value: float, *labels: str) -> None:
        """Set a gauge."""
        series = self._of(instrument, labels)
        series.value = value
        _FORWARDED[instrument].set(value, series.attributes)

    def recorded(self) -> Iterator[tuple[Instrument, list[Series]]]:
        """Every instrument with what was recorded so far."""
        for instrument, series in self._series.items():
            yield instrument, list(series.values())

    def _of(self, instrument: Instrument, labels: tuple[str, ...]) -> Series:
        found = self._series[instrument].get(labels)
        return found if found is not None else self._made(instrument, labels)

    def _made(self, instrument: Instrument, labels: tuple[str, ...]) -> Series:
        known = self._series[instrument]
        if len(known) >= MOST:
            labels = (BEYOND,) * len(instrument.labels)
        buckets = [0] * (len(BOUNDS) + 1) if instrument.kind is Kind.HISTOGRAM else []
        attributes = dict(zip(instrument.labels, labels, strict=True))
        return known.setdefault(labels, Series(labels, attributes, buckets=buckets))


def _forwarded(instrument: Instrument) -> Any:
    """The same instrument of OpenTelemetry's API."""
    meter = get_meter("skills_host")
    given: dict[str, Any] = {"unit": instrument.unit, "description": instrument.help}
    match instrument.kind:
        case Kind.COUNTER:
            return meter.create_counter(instrument.name, **given)
        case Kind.GAUGE:
            return meter.create_gauge(instrument.name, **given)
        case Kind.HISTOGRAM:
            given["explicit_bucket_boundaries_advisory"] = list(BOUNDS)
            return meter.create_histogram(instrument.name, **given)


_FORWARDED = {instrument: _forwarded(instrument) for instrument in INSTRUMENTS}
