"""Activities that may carry a credential: nothing of it can be read in what the host stores."""

from __future__ import annotations

from typing import Any

import pytest

from skills_host import Root, Turn
from skills_host.bot.sealing import is_sealed
from tests.world import ROOT, Town

SEED = "eyJzZWVkZWQtdXNlci10b2tlbg"


def signing_in() -> tuple[Root, list[str]]:
    """A root that takes sign-in invokes, and what it was given."""
    root, taken = Root(), []

    @root.on_invoke("signin/tokenExchange")
    async def take(turn: Turn) -> None:
        taken.append(turn.activity.value["token"])
        turn.respond(200, {"id": "1", "seen": SEED})

    return root, taken


def exchange() -> dict[str, Any]:
    value = {"id": "1", "connectionName": "graph", "token": SEED}
    return {"type": "invoke", "name": "signin/tokenExchange", "value": value, "id": "exchange-1"}


async def test_a_seeded_token_is_in_no_file_and_no_log(
    empty_town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    root, taken = signing_in()
    await empty_town.start_root(root=root)

    first = await empty_town.post("", **exchange())
    again = await empty_town.post("", **exchange())
    files = [file for file in empty_town.folder.rglob("*") if file.is_file()]

    assert taken == [SEED]
    assert first.status == again.status == 200
    assert first.body == again.body != b""
    assert any(file.name.endswith("-wal") for file in files)
    assert not [file.name for file in files if SEED.encode() in file.read_bytes()]
    assert SEED not in caplog.text
    await empty_town.stop(ROOT)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("signin/tokenExchange", True),
        ("signin/verifyState", True),
        ("tokens/response", True),
        ("tokens/responses", False),
        ("signin", False),
        ("", False),
    ],
)
def test_names_on_the_list(name: str, expected: bool) -> None:
    assert is_sealed(name, ("signin/*", "tokens/response")) is expected
