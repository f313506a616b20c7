"""`/metrics`: closed unless it is asked for, parsed by a reader of others, true."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

import skills_host.app
from skills_host.errors import TransportFailed
from skills_host.lab.world import free_port
from skills_host.settings import MetricsSettings
from skills_host.telemetry import BOUNDS, INSTRUMENTS, REFUSALS, TURNS, Kind, Telemetry
from skills_host.transport import Client, Request, Response, allow_loopback
from skills_host.web.metrics import exposed_name, registry_of
from tests.world import CONSOLE, ROOT, Town, bot_settings, skill_settings, until

TOKEN = "sixteen-letters-"
PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
TOO_MANY = Response(429, {"retry-after": "0"})


@pytest.fixture
async def send() -> AsyncIterator[Client]:
    """Over real sockets."""
    client = Client(guard=allow_loopback)
    yield client
    await client.close()


async def start(town: Town, **given: Any) -> None:
    """The root, and echo, with these settings of metrics."""
    settings = {
        "metrics": given,
        "bots": {"root": bot_settings("root", "root")},
        "skills": {"echo": skill_settings("echo")},
    }
    await town.start(ROOT, "root", settings)


async def read(town: Town, *, token: str = TOKEN) -> Response:
    headers = {"Authorization": f"Bearer {token}"}
    return await town.send(Request("GET", f"{ROOT}/metrics", headers, None, 5))


def samples(answer: Response) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The value of each sample, by name and labels."""
    assert answer.status == 200, answer.body
    found = text_string_to_metric_families(answer.body.decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in found
        for sample in family.samples
    }


def of(found: dict[Any, float], name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


async def test_metrics_are_off_by_default(town: Town) -> None:
    assert await town.call("GET", f"{ROOT}/metrics", {}) == (404, "not-found")


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "no-header"),
        ("Basic abc", "bad-scheme"),
        ("Bearer sixteen-letters+", "metrics-token"),
        ("Bearer ", "metrics-token"),
        ("Bearer \xe9", "metrics-token"),
    ],
)
async def test_metrics_token(empty_town: Town, header: str | None, code: str) -> None:
    await start(empty_town, token=TOKEN)
    headers = {"Authorization": header} if header else {}

    assert await empty_town.call("GET", f"{ROOT}/metrics", headers) == (401, code)


async def test_a_turn_a_call_and_a_refusal_are_told(empty_town: Town) -> None:
    await start(empty_town, token=TOKEN)
    empty_town.console.open("c1")
    await empty_town.post("echo")
    await empty_town.call("POST", f"{ROOT}/api/messages", {"Content-Type": "application/json"})
    found = samples(await read(empty_town))

    turns = {"bot": "root", "outcome": "ok"}
    assert of(found, "skills_host_turn_duration_seconds_count", **turns) == 1
    assert of(found, "skills_host_turn_duration_seconds_bucket", le="+Inf", **turns) == 1
    calls = {"skill": "echo", "outcome": "unreachable"}
    assert of(found, "skills_host_skill_call_duration_seconds_count", **calls) == 1
    assert of(found, "skills_host_refusals_total", code="no-header") == 1
    writes = {"operation": "write", "outcome": "ok"}
    assert of(found, "skills_host_store_duration_seconds_count", **writes) > 2
    assert of(found, "skills_host_turns_open", bot="root") == 0


async def test_what_waits_and_what_is_dead_is_told(
    empty_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skills_host.app, "ROUND_SECONDS", 0.01)
    await start(empty_town, token=TOKEN)
    empty_town.send.faults[CONSOLE] = lambda _: TOO_MANY
    await empty_town.post("what is this")
    waiting = samples(await read(empty_town))
    empty_town.send.faults[CONSOLE] = lambda _: Response(403)
    await until(lambda: empty_town.records("dead"))
    dead = samples(await read(empty_town))

    assert of(waiting, "skills_host_outbox_waiting", bot="root") == 1
    assert of(waiting, "skills_host_outbox_oldest_seconds", bot="root") > 0
    assert of(dead, "skills_host_outbox_dead", bot="root") == 1
    assert of(dead, "skills_host_outbox_waiting", bot="root") == 0


async def test_a_listener_of_its_own_is_opened_and_closed_with_the_host(
    empty_town: Town, send: Client
) -> None:
    first = free_port(0, taken=set())
    await start(empty_town, bind=f"127.0.0.1:{first}")
    url = f"http://127.0.0.1:{first}/metrics"
    answer = await send(Request("GET", url, {}, None, 5))
    elsewhere = await empty_town.call("GET", f"{ROOT}/metrics", {})
    await empty_town.stop(ROOT)
    await start(empty_town, bind=f"127.0.0.1:{first}", token=TOKEN)
    closed = await send(Request("GET", url, {}, None, 5))

    assert of(samples(answer), "skills_host_up") == 1
    assert elsewhere == (404, "not-found")
    assert closed.status == 401


async def test_a_process_whose_port_is_taken_listens_on_one_behind_it(
    empty_town: Town, send: Client
) -> None:
    first = free_port(0, taken=set())
    occupied = await asyncio.start_server(lambda *_: None, "127.0.0.1", first)
    await start(empty_town, bind=f"127.0.0.1:{first}", ports=20)
    found = []
    for port in range(first + 1, first + 20):
        with suppress(TransportFailed):
            url = f"http://127.0.0.1:{port}/metrics"
            found.append((await send(Request("GET", url, {}, None, 1))).status)
    occupied.close()

    assert 200 in found


async def test_a_taken_port_is_a_settings_error(empty_town: Town) -> None:
    port = free_port(0, taken=set())
    occupied = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    with pytest.raises(Exception, match=r"metrics\.bind: cannot listen"):
        await start(empty_town, bind=f"127.0.0.1:{port}")
    occupied.close()


@pytest.mark.parametrize("bind", ["0.0.0.0:9464", "metrics.example:9464", "9464", "127.0.0.1:x"])
def test_an_address_that_others_reach_needs_a_token(bind: str) -> None:
    with pytest.raises(ValidationError, match="bind"):
        MetricsSettings(bind=bind)


def test_every_instrument_is_told_and_explained() -> None:
    """The page of operations lists what there is, and nothing else."""
    telemetry = Telemetry()
    for instrument in INSTRUMENTS:
        labels = ["x"] * len(instrument.labels)
        match instrument.kind:
            case Kind.COUNTER:
                telemetry.count(instrument, *labels)
            case Kind.GAUGE:
                telemetry.set(instrument, 1.0, *labels)
            case Kind.HISTOGRAM:
                telemetry.took(instrument, 0.2, *labels)
    told = {family.name for family in registry_of(telemetry).collect()}
    listed = set(re.findall(r"^\| `([a-z_]+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    metrics = {name.removesuffix("_total") for name in listed if not name.startswith("store_")}

    assert {exposed_name(instrument) for instrument in INSTRUMENTS} < told
    assert {name for name in told if name.startswith(("skills_host_", "process_"))} <= metrics


def test_a_histogram_counts_what_took_at_most_so_long() -> None:
    telemetry = Telemetry()
    for seconds in (BOUNDS[0], BOUNDS[1], 1000.0):
        telemetry.took(TURNS, seconds, "root", "ok")
    (family,) = (f for f in registry_of(telemetry).collect() if f.name == exposed_name(TURNS))
    counts = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}

    assert (counts[str(BOUNDS[0])], counts[str(BOUNDS[1])], counts["+Inf"]) == (1, 2, 3)


def test_the_series_of_an_instrument_are_bounded() -> None:
    telemetry = Telemetry()
    for n in range(1200):
        telemetry.count(REFUSALS, f"code{n}")
    recorded = dict(telemetry.recorded())[REFUSALS]

    assert len(recorded) == 1001
    assert sum(series.value for series in recorded) == 1200
