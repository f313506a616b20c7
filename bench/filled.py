"""A store as it is after a long day: a million handles, ten thousand of them open."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import asyncpg

from skills_host.bot.turn import Place
from skills_host.consumer.conversations import SkillConversation
from skills_host.reference import ConversationReference
from skills_host.store.address import store_from_url

__all__ = ["HANDLES", "OPEN", "fill"]

HANDLES = 1_000_000
OPEN = 10_000
ANSWERED = 200_000  # deliveries that are remembered
SENT_EACH = 20  # activities of an open conversation that its skill may still change
DAY = 24 * 3600.0
COLUMNS = ("kind", "key", "version", "owner", "expires", "body", "due")

Row = tuple[str, str, int, str, float, bytes, float | None]


def fill(url: str, *, host_app_id: str, skill_app_id: str) -> None:
    """Put all of it into the store at `url`, which is made first, through its own tables."""
    rows = chain(_handles(host_app_id, skill_app_id), _sent(skill_app_id), _answered())
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(asyncio.run, _filled(url, rows)).result()


async def _filled(url: str, rows: Iterator[Row]) -> None:
    store = store_from_url(url)
    await store.open()
    await store.close()
    if url.startswith("sqlite"):
        _into_file(url.removeprefix("sqlite:///"), rows)
        return
    connection = await asyncpg.connect(url)
    encoded = (
        tuple(value.encode() if isinstance(value, str) else value for value in row) for row in rows
    )
    await connection.copy_records_to_table(
        "skills_host_records", records=encoded, columns=COLUMNS, timeout=600
    )
    await connection.execute("VACUUM ANALYZE skills_host_records")
    await connection.close()


def _into_file(path: str, rows: Iterator[Row]) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    places = ", ".join("?" * len(COLUMNS))
    connection.executemany(f"INSERT INTO records ({', '.join(COLUMNS)}) VALUES ({places})", rows)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _handle(n: int) -> str:
    # As random as real ones, and the same in every run.
    return f"{n * 2654435761 % 2**32:08x}{n:051d}"


def _handles(host_app_id: str, skill_app_id: str) -> Iterator[Row]:
    now = time.time()
    for n in range(HANDLES):
        reference = ConversationReference(
            channel_id="slack",
            service_url="http://127.0.0.1:1",
            conversation=b'{"id":"filled-%d"}' % n,
            user=b'{"id":"user-%d"}' % n,
        )
        place = Place(reference, "https://api.botframework.com", f"root/slack/filled-{n}")
        closed = n >= OPEN
        body = _conversation(_handle(n), host_app_id, skill_app_id, place, now, closed)
        due = None if closed else now + 1800.0 + n % 1800
        yield "handle", _handle(n), 1, skill_app_id, now + DAY, body, due


def _conversation(
    handle: str, host_app_id: str, skill_app_id: str, place: Place, now: float, closed: bool
) -> bytes:
    return SkillConversation(
        handle, "echo", skill_app_id, host_app_id, place, now, closed=closed
    ).encode()


def _sent(skill_app_id: str) -> Iterator[Row]:
    expires = time.time() + DAY
    for n in range(OPEN * SENT_EACH):
        key = f"{_handle(n % OPEN)}/a{n}"
        yield "sent", key, 1, skill_app_id, expires, b'{"at":1.0}', None


def _answered() -> Iterator[Row]:
    expires = time.time() + DAY
    for n in range(ANSWERED):
        yield "inbound", f"root/slack/{n:07d}/message//x", 2, "", expires, _ANSWER, None


_ANSWER: Any = b'{"answer":{"status":200}}'
