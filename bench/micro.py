"""What single steps of a turn cost: `scripts/bench micro`.

Each is done many times in one process; the figure is the median of the rounds, in CPU time of the
process, so that it hardly depends on what else the machine does. Where a step has something that
it can be held against, the ratio stands beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from bench.decisions import decisions
from bench.idle import settings
from bench.processes import free_port, new_loop
from skills_host import wire
from skills_host.activity import Activity, check_received
from skills_host.addressing import addressed_to_skill, reference_of, restored_for_user
from skills_host.auth.allowlist import AllowedSkill, Snapshot, check_skill
from skills_host.auth.claims import Identity
from skills_host.auth.keys import SigningKeys
from skills_host.auth.verify import Door, Verifier
from skills_host.consumer.handle import check_handle, new_handle
from skills_host.settings import CLOUDS
from skills_host.store.records import ANY, Check, Put
from skills_host.store.seal import keys_of
from skills_host.store.sqlite import SqliteStore
from skills_host.transport import Request, Response

__all__ = ["main"]

BOT = "a0000000-0000-4000-8000-000000000001"
SKILL = "b0000000-0000-4000-8000-000000000001"
CLOUD = CLOUDS["public"]
TENANT = CLOUD.shared_tenants[0]
ROUNDS = 7


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured: microseconds, or another unit; `to` is what it is held against."""

    name: str
    value: float
    unit: str = "µs"
    to: str = ""
    ratio: float = 0.0
    most: float = 0.0


ACTIVITY: dict[str, Any] = {
    "type": "message",
    "id": "a17",
    "timestamp": "2026-01-01T12:00:00.000Z",
    "serviceUrl": "https://smba.example/teams/",
    "channelId": "msteams",
    "from": {"id": "29:user", "name": "A user", "aadObjectId": SKILL, "role": "user"},
    "conversation": {"id": "a:1x", "conversationType": "personal", "tenantId": TENANT},
    "recipient": {"id": "28:bot", "name": "root", "role": "bot"},
    "textFormat": "plain",
    "locale": "en-US",
    "text": "message 17 of many",
    "entities": [{"type": "clientInfo", "locale": "en-US", "platform": "Web"}],
    "channelData": {"tenant": {"id": TENANT}, "clientActivityID": "1700000000000"},
}


def timed(work: Callable[[], object], *, times: int) -> float:
    """Microseconds of CPU that one call takes."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(times):
            work()
        found.append((time.process_time() - began) / times * 1e6)
    return statistics.median(found)


async def timed_async(work: Callable[[], Awaitable[object]], *, times: int) -> float:
    """The same for what is awaited."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(times):
            await work()
        found.append((time.process_time() - began) / times * 1e6)
    return statistics.median(found)


def activities() -> list[Figure]:
    """Parsing what came in, and what goes on, as a turn does it."""
    data = wire.encode(ACTIVITY)
    received = Activity.parse(data)
    reference = reference_of(received)

    def parsed() -> None:
        check_received(Activity.parse(data))

    def forwarded() -> bytes:
        return addressed_to_skill(
            Activity.parse(data), conversation_id="x" * 59, service_url="https://root.example/"
        ).encode()

    def restored() -> bytes:
        return restored_for_user(Activity.parse(data), reference, reply_to_id="a17").encode()

    bare = timed(lambda: wire.encode(wire.decode(data)), times=5000)
    steps = (
        ("activity: parse and check", parsed),
        ("activity: forward to a skill", forwarded),
        ("activity: restore for the user", restored),
    )
    figures = [Figure("activity: decode and encode (msgspec)", bare)]
    for name, step in steps:
        taken = timed(step, times=5000)
        figures.append(Figure(name, taken, to="decode and encode", ratio=taken / bare))
    return figures


@dataclass
class Authority:
    """A key, and what it signs."""

    key: rsa.RSAPrivateKey

    async def __call__(self, request: Request) -> Response:
        """The metadata, or the keys."""
        if request.url.endswith("/keys"):
            public = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
            return Response(200, {}, wire.encode({"keys": [{**public, "kid": "k", "use": "sig"}]}))
        return Response(200, {}, wire.encode({"jwks_uri": f"{request.url}/keys"}))

    def token(self, number: int = 0) -> str:
        """A token of the skill's for the bot."""
        now = int(time.time())
        claims = {
            "iss": f"https://login.microsoftonline.com/{TENANT}/v2.0",
            "tid": TENANT,
            "aud": BOT,
            "azp": SKILL,
            "ver": "2.0",
            "nbf": now - 60,
            "exp": now + 3600,
            "uti": str(number),
        }
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "k"})


async def tokens() -> list[Figure]:
    """A token that was seen before, one that never was, and PyJWT's verification alone."""
    authority = Authority(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    keys = SigningKeys(authority, now=time.time)
    listed = AllowedSkill("echo", SKILL, "https://echo.example/api/messages")
    snapshot = Snapshot(1, {"echo": listed}, {})
    verifier = Verifier(
        cloud=CLOUD, bots={BOT: frozenset()}, keys=keys, snapshot=lambda: snapshot, now=time.time
    )

    async def admitted(token: str) -> Identity:
        header = f"Bearer {token}"
        return await verifier.admit(header, door=Door.SKILL_HOST, bot_app_id=BOT)

    known = authority.token()
    identity = await admitted(known)
    public = authority.key.public_key()
    unknown = iter([authority.token(number) for number in range(1, ROUNDS * 150 + 1)])
    bare = timed(lambda: jwt.decode(known, public, algorithms=["RS256"], audience=BOT), times=150)
    cold = await timed_async(lambda: admitted(next(unknown)), times=150)
    warm = await timed_async(lambda: admitted(known), times=3000)
    decided = timed(lambda: check_skill(snapshot, identity), times=20000)
    await keys.close()
    return [
        Figure("token: PyJWT's verification alone", bare),
        Figure("token: never seen", cold, to="PyJWT", ratio=cold / bare, most=bare * 1.3),
        Figure("token: seen before", warm, to="PyJWT", ratio=warm / bare, most=20.0),
        Figure("allowlist: decision", decided),
    ]


async def routes() -> list[Figure]:
    """What is decided about a message among five skills, by the way that it goes."""
    return [
        Figure(f"route: {way}", await timed_async(decided, times=500))
        for way, decided in (await decisions()).items()
    ]


async def handles_and_store(folder: Path) -> list[Figure]:
    """Handles, and the store's operations one by one: each waits for the disk."""
    store = SqliteStore(folder / "micro.db")
    await store.open()
    try:
        keys = await keys_of(store, [])
        random = os.urandom(16)
        made = new_handle(keys, host_app_id=BOT, skill_app_id=SKILL, random=random)
        put = Put("micro", "key", b"x" * 600, expires=time.time() + 3600)
        await store.write([put])
        numbers = iter(range(10**9))

        async def many() -> None:
            batch = (replace(put, key=f"k{next(numbers) % 1000}") for _ in range(32))
            await asyncio.gather(*[store.write([change]) for change in batch])

        async def fenced() -> None:
            (version,) = await store.write([put])
            await store.write([Check("micro", "key", version), replace(put, key="other")])

        together = await timed_async(many, times=20)
        return [
            Figure(
                "handle: make",
                timed(
                    lambda: new_handle(keys, host_app_id=BOT, skill_app_id=SKILL, random=random),
                    times=3000,
                ),
            ),
            Figure(
                "handle: check",
                timed(
                    lambda: check_handle(keys, made, host_app_id=BOT, skill_app_id=SKILL),
                    times=3000,
                ),
            ),
            Figure(
                "store: read one",
                await timed_async(lambda: store.read([("micro", "key")]), times=500),
            ),
            Figure(
                "store: read two at once",
                await timed_async(lambda: store.read([("micro", "key"), ("a", "b")]), times=500),
            ),
            Figure(
                "store: commit, alone",
                await timed_async(lambda: store.write([replace(put, expects=ANY)]), times=100),
            ),
            Figure("store: commit, one of 32 at once", together / 32),
            Figure("store: two commits, one fenced", await timed_async(fenced, times=50)),
        ]
    finally:
        await store.close()


def conversations() -> list[Figure]:
    """Memory of a conversation with a skill in which nothing happens, in a process of its own."""
    out = subprocess.run(
        [sys.executable, "-m", "bench.idle"], capture_output=True, check=True, text=True
    )
    return [Figure("memory: an idle conversation", float(out.stdout) / 1024, "KiB", most=4.0)]


def starts(folder: Path) -> list[Figure]:
    """CPU time of an import and of a start, in processes of their own."""
    bare = _child_cpu(["-c", "pass"])
    imported = _child_cpu(["-c", "import skills_host"]) - bare
    everything = _child_cpu(["-c", "import skills_host.app"]) - bare
    return [
        Figure("import skills_host", imported, "ms", most=150.0),
        Figure("import skills_host.app, all of a host", everything, "ms"),
        Figure("serve: until it answers", _until_it_answers(folder), "ms", most=2000.0),
    ]


def _child_cpu(arguments: Sequence[str]) -> float:
    found = []
    for _ in range(5):
        before = os.times()
        subprocess.run([sys.executable, *arguments], check=True)
        after = os.times()
        used = after.children_user + after.children_system
        found.append((used - before.children_user - before.children_system) * 1e3)
    return statistics.median(found)


def _until_it_answers(folder: Path) -> float:
    """Milliseconds until a root whose authority cannot be reached has told of its health."""
    port = free_port()
    config = folder / "serve.toml"
    tables = settings(folder, bind=f"127.0.0.1:{port}")
    config.write_text(_toml(tables))
    found = []
    for _ in range(3):
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "skills_host.cli", "serve", "--config", str(config)],
            stderr=subprocess.DEVNULL,
        )
        try:
            while not _answers(port):
                if process.poll() is not None:
                    raise RuntimeError("serve ended at once")
                time.sleep(0.005)
            found.append((time.perf_counter() - began) * 1e3)
        finally:
            process.terminate()
            process.wait()
    return statistics.median(found)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return client.recv(100).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _toml(tables: dict[str, Any], name: str = "") -> str:
    """Nested tables of texts and lists of texts as TOML, whose strings are those of JSON."""
    plain = {key: value for key, value in tables.items() if not isinstance(value, dict)}
    lines = [f"[{name}]"] if name and plain else []
    lines += [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    for key, value in tables.items():
        if isinstance(value, dict):
            lines.append(_toml(value, f"{name}.{key}".strip(".")))
    return "\n".join(lines)


def shown(figures: Sequence[Figure]) -> str:
    """The figures as a table of Markdown."""
    lines = ["| step | takes | beside | ratio | target |", "|---|---:|---|---:|---:|"]
    for each in figures:
        ratio = f"{each.ratio:.2f}" if each.to else ""
        target = f"≤ {each.most:.0f} {each.unit}" if each.most else ""
        taken = f"{each.value:.2f} {each.unit}"
        lines.append(f"| {each.name} | {taken} | {each.to} | {ratio} | {target} |")
    return "\n".join(lines)


async def measured(folder: Path) -> list[Figure]:
    """All figures of this process."""
    gc.collect()
    figures = [*activities(), *await tokens(), *await routes()]
    return [*figures, *await handles_and_store(folder)]


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(prog="scripts/bench micro", description=__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="skills-host-micro-") as name:
        folder = Path(name)
        with asyncio.Runner(loop_factory=new_loop()) as runner:
            figures = runner.run(measured(folder))
        print(shown([*figures, *conversations(), *starts(folder)]))


if __name__ == "__main__":
    main()
