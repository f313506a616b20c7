"""What it costs a running host to take up a change of its registry, with many skills.

Run as `python -m bench.registry [SKILLS]`. Turns go on meanwhile, so what counts is how long the
event loop is held up at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from skills_host.consumer.registry.deeds import kept
from skills_host.consumer.registry.intake import Submission, revision_of_submission
from skills_host.consumer.registry.ledger import Deed
from skills_host.consumer.registry.live import LiveCatalogue
from skills_host.consumer.registry.records import (
    SKILL,
    Actor,
    Approval,
    Order,
    Origin,
    RevisionState,
    SkillRecord,
    Trust,
)
from skills_host.consumer.registry.registry import Registry
from skills_host.settings import Settings
from skills_host.store.records import Change, Put
from skills_host.store.sqlite import SqliteStore

__all__ = ["main"]

ROOT = "a0000000-0000-4000-8000-000000000001"
AT_ONCE = 200
LIMIT = 0.050  # seconds for which the loop may be held up


async def filled(registry: Registry, store: SqliteStore, count: int) -> None:
    """That many skills that run, in the store."""
    names = [f"skill-{n:05d}" for n in range(count)]
    for start in range(0, count, AT_ONCE):
        changes: list[Change] = []
        for n, name in enumerate(names[start : start + AT_ONCE], start):
            changes += skill(name, n)
        await store.write(changes)
    await registry.ledger.commit(await registry.ledger.head(), Deed("bench", "fill"), [])


def skill(name: str, n: int) -> list[Change]:
    """The records of a skill that runs."""
    endpoint = {
        "name": "default",
        "protocol": "BotFrameworkV3",
        "endpointUrl": f"https://{name}.example/api/messages",
        "msAppId": f"b0000000-0000-4000-8000-{n:012d}",
    }
    manifest = {
        "$schema": "https://schemas.botframework.com/schemas/skills/v2.2/skill-manifest.json",
        "$id": name,
        "name": f"Skill {n}",
        "version": "1.0",
        "publisherName": "bench",
        "description": "One of very many",
        "endpoints": [endpoint],
    }
    sent = Submission(json.dumps(manifest).encode(), registration={"phrases": [f"ask {name}"]})
    revision = revision_of_submission(name, sent, now=0.0)
    approval = Approval("bench", 0.0, revision.digest)
    state = RevisionState(revision.digest, Trust.APPROVED, 0.0, approval=approval)
    record = SkillRecord(name, Origin.REGISTRY, "upload", "bench", 0.0, name, "bench")
    record = replace(record, active=revision.digest, revisions=(state,))
    return [Put(SKILL, name, record.encode()), *kept(revision, sent)]


class Pauses:
    """How long the loop has been held up at most since it was last asked."""

    def __init__(self) -> None:
        self._worst = 0.0
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        before = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            self._worst, before = max(self._worst, now - before), now

    def worst(self) -> float:
        """Seconds, and begin anew."""
        worst, self._worst = self._worst, 0.0
        return worst

    def close(self) -> None:
        """Stop watching."""
        self._task.cancel()


async def measured(count: int) -> bool:
    """Print what was seen; True if no pause was over the limit."""
    settings = Settings.model_validate(
        {
            "host": {"public_url": "https://root.example"},
            "bots": {"root": {"kind": "root", "app_id": ROOT, "credential": {"secret": "s"}}},
        }
    )
    with TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "host.db")
        await store.open()
        registry = Registry(store, now=time.time, own_app_ids=frozenset({ROOT}))
        await filled(registry, store, count)
        live = LiveCatalogue(registry.ledger, settings)
        began = time.perf_counter()
        await live.load()
        print(f"{len(live.now.skills)} skills read at start: {time.perf_counter() - began:.2f} s")
        pauses, order = Pauses(), Order(Actor("bench"))
        worst: list[float] = []
        for n in range(20):
            verb = registry.drain if n % 2 == 0 else registry.enable
            await verb("skill-00000", order=order)
            pauses.worst()
            began = time.perf_counter()
            await live.check()
            took = time.perf_counter() - began
            await asyncio.sleep(0.05)
            worst.append(pauses.worst())
        print(f"a change is taken up in {took * 1000:.0f} ms")
        print(f"the loop is held up for {max(worst) * 1000:.1f} ms at most")
        pauses.close()
        await store.close()
    return max(worst) < LIMIT


def main() -> None:
    """Measure; status 1 if a pause was too long."""
    logging.disable(logging.INFO)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    sys.exit(0 if asyncio.run(measured(count)) else 1)


if __name__ == "__main__":
    main()
