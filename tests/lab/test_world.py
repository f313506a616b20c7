"""The parts of a world of processes that can be told apart without starting it."""

from __future__ import annotations

import socket
import tomllib
from contextlib import closing
from typing import Any

import pytest

from skills_host.lab.world import Inhabitant, free_port, toml_of


@pytest.mark.parametrize(
    "tables",
    [
        {},
        {"host": {"bind": "127.0.0.1:1"}},
        {"bots": {"root": {"kind": "root", "credential": {"secret": "${X}"}}}},
        {"skills": {"a": {"phrases": ['é “x” \\ "y"', ""], "seconds": 1.5, "on": True}}},
    ],
)
def test_tables_are_written_as_toml(tables: dict[str, Any]) -> None:
    """What is read back is what was written."""
    assert tomllib.loads(toml_of(tables)) == tables


def test_taken_port_is_worked_around() -> None:
    """Another one is found, and none is given twice."""
    taken: set[int] = set()
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        first = free_port(port, taken=taken)
        second = free_port(first, taken=taken)

    assert len({port, first, second}) == 3
    assert taken == {first, second}


def test_secret_is_not_shown() -> None:
    """An inhabitant can be printed."""
    bot = Inhabitant("echo", "skill", "b0000000-0000-4000-8000-000000000001", 3980)

    assert bot.secret not in repr(bot)
    assert (bot.url, bot.variable) == ("http://127.0.0.1:3980", "ECHO_SECRET")
