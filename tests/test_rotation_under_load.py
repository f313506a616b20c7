"""Secrets and signing keys that change every two seconds, under load: no turn fails."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from skills.echo import bot as echo
from tests.world import (
    IDS,
    ROOT,
    SKILLS,
    Lab,
    Town,
    bot_settings,
    settings,
    skill_settings,
)

EVERY = 2.0
PER_SECOND = 100
USERS = 50
LIMITS = {"credential_check_seconds": 0.2, "unknown_key_seconds": 1}


class Rotating:
    """A town whose root and skill have their secrets in files, and whose lab changes all it has.

    Tokens last four seconds, so that each secret is used.
    """

    def __init__(self, folder: Path) -> None:
        self.lab = Lab()
        self.lab.authority.lifetime = 4
        self.town = Town(folder, self.lab)
        self.numbers = count()

    async def open(self) -> None:
        self.change()
        await self._start(SKILLS["echo"], "echo", "skill", {"echo": echo})
        await self._start(ROOT, "root", "root", None)

    async def _start(self, base: str, name: str, kind: str, bots: dict[str, object] | None) -> None:
        callers = {"allowed_callers": [IDS["root"]]} if kind == "skill" else {}
        secret = {"credential": {"secret": f"@{self.file(name)}"}}
        toml = {
            "host": {"limits": LIMITS},
            "bots": {name: bot_settings(kind, name, **callers) | secret},
            "skills": {"echo": skill_settings("echo")} if kind == "root" else {},
        }
        await self.town.start(
            base,
            name,
            toml,
            bots,  # type: ignore[arg-type]
            reload=lambda: settings(base, name, toml, self.town.folder),
        )

    def file(self, name: str) -> Path:
        return self.town.folder / f"{name}.secret"

    def change(self) -> None:
        """New before old: the authority takes the new secret first, and still the one before."""
        for name in ("root", "echo"):
            secret = f"{name}-{next(self.numbers)}"
            self.lab.authority.change_secret(IDS[name], secret)
            new = self.file(name).with_suffix(".new")
            new.write_text(secret)
            new.replace(self.file(name))
        self.lab.authority.rotate()

    async def changing(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await asyncio.to_thread(self.change)

    async def turn(self, number: int) -> str:
        """One turn; how it ended. A slow machine takes it (202), and answers later."""
        conversation, text = f"c{number % USERS}", f"number {number}"
        known = len(self.town.console.open(conversation).transcript.entries)
        answer = await self.town.post(text, conversation=conversation, user=f"u{number % USERS}")
        heard = await self._heard(text, conversation, after=known)
        is_taken = answer.status in (200, 202)
        return "answered" if is_taken and heard else f"{answer.status}, heard: {heard}"

    async def _heard(self, text: str, conversation: str, *, after: int) -> bool:
        """Look at each thing once: whoever looks at all again and again loads a slow machine."""
        transcript = self.town.console.open(conversation).transcript
        with suppress(TimeoutError):
            async with asyncio.timeout(30):
                while True:
                    entry = await transcript.next_entry(after=after)
                    if entry.text == f"Echo: {text}":
                        return True
                    after += 1
        return False


async def loaded(rotating: Rotating, seconds: float) -> Counter[str]:
    """How the turns of so many seconds ended, at a hundred a second."""
    for user in range(USERS):
        await rotating.town.post("echo", conversation=f"c{user}", user=f"u{user}")
    changing = asyncio.create_task(rotating.changing())
    turns = []
    begun = asyncio.get_running_loop().time()
    for number in range(int(seconds * PER_SECOND)):
        due = begun + number / PER_SECOND
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
        turns.append(asyncio.create_task(rotating.turn(number)))
    ended = Counter(await asyncio.gather(*turns))
    changing.cancel()
    return ended


@pytest.mark.parametrize(
    "seconds", [5, pytest.param(60, marks=[pytest.mark.processes, pytest.mark.timeout(240)])]
)
async def test_no_turn_fails_while_secrets_and_keys_change(
    tmp_path: Path, seconds: int, record_property: Callable[[str, object], None]
) -> None:
    rotating = Rotating(tmp_path)
    await rotating.open()
    ended = await loaded(rotating, seconds)
    await rotating.town.close()

    record_property("turns", dict(ended))
    record_property("changes", next(rotating.numbers) // 2 - 1)
    assert ended == {"answered": seconds * PER_SECOND}
