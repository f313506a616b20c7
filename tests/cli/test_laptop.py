"""The README's way to run a root and a skill of one's own on a laptop, command by command."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.test_readme import EXAMPLES, README

pytestmark = pytest.mark.processes

SECTION = re.compile(r"## Both on a laptop\n.*?```sh\n(.*?)```", re.DOTALL)
ASK = "import sys, urllib.request as u; [u.urlopen(url) for url in sys.argv[1:]]"
SAID = "--say hello --say Ann --say bye"


def script() -> str:
    """The section's commands, with words to say in place of a terminal."""
    found = SECTION.search(README.read_text(encoding="utf-8"))
    assert found is not None
    commands = found.group(1)
    urls = ("http://127.0.0.1:3978/readyz", "http://127.0.0.1:3980/readyz")
    ready = f'until python -c "{ASK}" {" ".join(urls)} 2>&-; do :; done'
    return commands.replace("skills-host chat", f"{ready}\nskills-host chat {SAID}")


async def test_commands_of_the_readme_work(tmp_path: Path) -> None:
    """A root from settings, a skill of ten lines, and real tokens for both."""
    for name, text in EXAMPLES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (tmp_path / "output.txt").open("w+b") as output:
        shell = await asyncio.create_subprocess_exec(
            *("sh", "-c", script()),
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            stdin=asyncio.subprocess.DEVNULL,
            # Not a pipe: what runs in the background would hold it open.
            stdout=output,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(60):
                status = await shell.wait()
        finally:
            os.killpg(shell.pid, signal.SIGTERM)
        output.seek(0)
        lines = output.read().decode().splitlines()

    said = [line for line in lines if re.match(r"you:|hello \(", line)]
    assert [re.sub(r" \(\d+ ms\)", "", line) for line in said] == [
        "you: hello",
        "hello: Hello hello!",
        "you: Ann",
        "hello: Hello Ann!",
        "you: bye",
    ]
    assert status == 1  # the last words were answered with an end and nothing said
