"""A PostgreSQL database that is there for one run."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

import asyncpg

__all__ = ["SERVER", "temporary_database"]

SERVER = os.environ.get("SKILLS_HOST_TEST_POSTGRES", "postgresql://root@127.0.0.1:5432/test")


@contextmanager
def temporary_database() -> Iterator[str]:
    """The address of a new, empty database, which is dropped at the end."""
    name = f"skills_host_bench_{secrets.token_hex(6)}"
    _said(f'CREATE DATABASE "{name}"')
    try:
        yield urlsplit(SERVER)._replace(path=f"/{name}").geturl()
    finally:
        _said(f'DROP DATABASE "{name}" WITH (FORCE)')


def _said(statement: str) -> None:
    async def say() -> None:
        connection = await asyncpg.connect(SERVER)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    # The caller may be in an event loop of its own.
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(asyncio.run, say()).result()
