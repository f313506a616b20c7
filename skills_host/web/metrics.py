"""`/metrics`: what this process tells of itself, as Prometheus reads it."""

from __future__ import annotations

import asyncio
import hmac
import logging
import platform
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from quart import Blueprint, Quart, Response, request

from skills_host.auth.denials import Denied
from skills_host.errors import SettingsError, SkillsHostError
from skills_host.telemetry import BOUNDS, Instrument, Kind, Series, Telemetry
from skills_host.web.guard import answer_errors
from skills_host.web.server import Listeners, listening, serve_asgi

__all__ = ["Measure", "exposed_name", "metrics", "registry_of"]

log = logging.getLogger(__name__)

Measure = Callable[[], Awaitable[None]]
"""Sets gauges to what they are at the moment."""


def metrics(telemetry: Telemetry, *, measures: Sequence[Measure], token: str | None) -> Blueprint:
    """The door; `token` is what a bearer has to show, if anything."""
    door = Blueprint("metrics", __name__)
    registry = registry_of(telemetry)

    @door.get("/metrics")
    async def read() -> Response:
        if token is not None:
            _check(request.headers.get("Authorization"), token)
        for measure in measures:
            try:
                await measure()
            except SkillsHostError as exc:
                # The other numbers say what the matter is.
                log.warning("something could not be measured: %s", exc.code)
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return door


class MetricsListener:
    """The door on an address of its own, served beside the host; `close` ends it."""

    def __init__(self, door: Blueprint, listener: socket.socket) -> None:
        app = Quart("skills_host.metrics", static_folder=None)
        app.register_blueprint(door)
        answer_errors(app)
        config = Listeners([listener])
        config.errorlog = log
        config.graceful_timeout = 1.0
        self._listener = listener
        self._over = asyncio.Event()
        self._task = asyncio.create_task(serve_asgi(app, config, shutdown=self._over.wait))

    @classmethod
    async def opened(cls, door: Blueprint, bind: str, *, ports: int) -> MetricsListener:
        """Serve on the first of so many ports that is free; `SettingsError` if none is."""
        host, _, first = bind.rpartition(":")
        for port in range(int(first), int(first) + ports):
            with suppress(OSError, OverflowError):
                return cls(door, listening(f"{host}:{port}"))
        raise SettingsError(f"metrics.bind: cannot listen on {bind}, nor on {ports - 1} after it")

    async def close(self) -> None:
        """Let a reader finish, then stop listening."""
        self._over.set()
        await asyncio.gather(self._task, return_exceptions=True)
        self._listener.close()


def registry_of(telemetry: Telemetry) -> CollectorRegistry:
    """All that is told: the host's instruments, and the process's memory, time and files."""
    registry = CollectorRegistry()
    registry.register(_Instruments(telemetry))
    ProcessCollector(registry=registry)
    return registry


def exposed_name(instrument: Instrument) -> str:
    """The name without what a sample's kind adds to it (`_total`, `_bucket` …). Pure."""
    name = instrument.name.replace(".", "_")
    return f"{name}_seconds" if instrument.unit == "s" else name


class _Instruments:
    """A collector, as prometheus_client wants it, of everything that was recorded."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("skills_host_up", "1: this process runs.", value=1)
        labels = {"version": version("skills-host"), "python": platform.python_version()}
        build = GaugeMetricFamily("skills_host_build_info", "What runs.", labels=list(labels))
        build.add_metric(list(labels.values()), 1)
        yield build
        for instrument, recorded in self._telemetry.recorded():
            yield _family(instrument, recorded)


def _family(instrument: Instrument, recorded: Iterable[Series]) -> Metric:
    name, labels = exposed_name(instrument), instrument.labels
    if instrument.kind is Kind.HISTOGRAM:
        durations = HistogramMetricFamily(name, instrument.help, labels=labels)
        for series in recorded:
            durations.add_metric(series.labels, list(_buckets(series)), series.value)
        return durations
    family = CounterMetricFamily if instrument.kind is Kind.COUNTER else GaugeMetricFamily
    values = family(name, instrument.help, labels=labels)
    for series in recorded:
        values.add_metric(series.labels, series.value)
    return values


def _buckets(series: Series) -> Iterator[tuple[str, float]]:
    """How many took at most so long, for each bound."""
    total = 0
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), series.buckets, strict=True):
        total += count
        yield bound, total


def _check(header: str | None, token: str) -> None:
    """Raise `Denied` unless the header shows the token."""
    if not header:
        raise Denied("no-header")
    scheme, _, shown = header.partition(" ")
    if scheme.lower() != "bearer":
        raise Denied("bad-scheme")
    if not hmac.compare_digest(shown.strip().encode(), token.encode()):
        raise Denied("metrics-token")
