"""Two roots behind a real nginx, with the very configuration that the page of operations shows."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from skills_host.lab.console import Console
from skills_host.transport import Client, Request, allow_loopback
from tests.durability.fleet import Report, delivered, started

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def configuration(port: int, ports: list[int]) -> str:
    """What the page shows, with these ports, and files where a test may write."""
    found = re.search(r"```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    text = found[1]
    for shown, real in (("8080", port), ("3978", ports[0]), ("3979", ports[1])):
        assert f"127.0.0.1:{shown}" in text
        text = text.replace(f"127.0.0.1:{shown}", f"127.0.0.1:{real}")
    paths = "".join(f"{name}_temp_path {name};\n" for name in TEMPORARY)
    text = text.replace("http {", f"http {{\n{paths}", 1)
    return f"user root;\n{text}" if os.geteuid() == 0 else text


@asynccontextmanager
async def nginx(folder: Path, port: int, ports: list[int]) -> AsyncIterator[None]:
    (folder / "nginx.conf").write_text(configuration(port, ports), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"),
        *("-g", f"daemon off; pid {folder}/nginx.pid;"),
    )
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    (await asyncio.open_connection("127.0.0.1", port))[1].close()
                    break
                except OSError:
                    assert process.returncode is None, "nginx ended at once"
                    await asyncio.sleep(0.02)
        yield
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def town(folder: Path) -> AsyncIterator[Any]:
    """A fleet of two roots on one store behind nginx."""
    own = folder / "nginx"
    own.mkdir()
    opened = started(
        folder,
        roots=2,
        store_url="sqlite:///shared.db",
        front=lambda port, ports: nginx(own, port, ports),
    )
    async with opened as world:
        yield world


async def said(console: Console, name: str, text: str, report: Report, **members: Any) -> str:
    """What is heard after a message was taken."""
    transcript = console.open(name, user=name).transcript
    known = len(transcript.entries)
    activity = console.activity(text, user=name, conversation=name) | members
    await delivered(console, activity, report)
    async with asyncio.timeout(20):
        entry = await transcript.next_entry(after=known)
    return entry.text


async def test_any_replica_takes_any_callback_and_one_may_die(tmp_path: Path) -> None:
    """Ids hold slashes, encoded ones too: in the address of the skill's reply they stay."""
    report = Report()
    async with town(tmp_path) as (fleet, roots, console):
        for n in range(8):
            heard = await said(console, "a/b", f"echo #{n}", report, id=f"m/{n}%2F?x#y")
            assert heard == f"Echo: echo #{n}"
        await fleet.stop(roots[0].name, kill=True)
        for n in range(8):
            name = ("a/b", "c d")[n % 2]
            assert await said(console, name, f"echo again #{n}", report) == f"Echo: echo again #{n}"
        texts = [entry.text for entry in console.open("a/b").transcript.entries]

    assert len(texts) == len(set(texts)) == 12


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_what_nginx_lets_through_fits_the_host(tmp_path: Path) -> None:
    """Large bodies are refused, forged headers do not arrive, metrics are not for outside."""
    send = Client(guard=allow_loopback)
    json = {"Content-Type": "application/json"}
    async with town(tmp_path) as (fleet, roots, _):
        url = f"{fleet.public_url}/api/messages"
        forged = json | {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https"}
        answers = {
            name: await send(Request(method, address, headers, body, 20))
            for name, method, address, headers, body in (
                ("large", "POST", url, json, b"x" * (4 * 1024 * 1024 + 1)),
                ("largest", "POST", url, json, b"x" * (4 * 1024 * 1024)),
                ("forged", "POST", url, forged, b"{}"),
                ("direct", "POST", f"{roots[0].url}/api/messages", forged, b"{}"),
                ("metrics", "GET", f"{fleet.public_url}/metrics", {}, None),
                ("ready", "GET", f"{fleet.public_url}/readyz", {}, None),
            )
        }
    await send.close()

    assert {name: answer.status for name, answer in answers.items()} == {
        "large": 413,
        "largest": 401,
        "forged": 401,
        "direct": 403,
        "metrics": 404,
        "ready": 200,
    }
    assert b"no-header" in answers["forged"].body
