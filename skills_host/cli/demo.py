"""`skills-host demo`: a lab, a root and two skills as processes of their own, and a chat."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console as Terminal

from skills_host.cli.chat import chatted, interruptible, played
from skills_host.cli.terminal import Exit, JsonOption, fail, print_json, run_async
from skills_host.errors import SkillsHostError
from skills_host.lab.chat import Chat, Exchange, LabClient, opened_chat
from skills_host.lab.world import Inhabitant, ProcessWorld, free_port
from skills_host.transport import Client, Request, Send, allow_loopback
from skills_host.wire import decode

__all__ = ["demo"]

FOLDER = Path(".skills-host") / "demo"
PORTS = {"root": 3978, "lab": 3979, "echo": 3980, "booking": 3981, "console": 3982}
APP_IDS = {
    "root": "5c111500-0000-4000-8000-000000000001",
    "echo": "5c111500-0000-4000-8000-000000000002",
    "booking": "5c111500-0000-4000-8000-000000000003",
    "stranger": "5c111500-0000-4000-8000-000000000004",
}
PHRASES = {"echo": ("repeat after me",), "booking": ("book a trip", "travel")}
TOUR = (
    "hi",
    "echo",
    "hello there",
    "end",
    "I want to book a trip",
    "Lisbon",
    "tomorrow",
    "2031-05-17",
    "2",
    "yes",
    "book a trip",
    "cancel",
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A stranger's attempt and what came of it."""

    attempt: str
    status: int
    code: str


def demo(
    say: Annotated[list[str] | None, typer.Option(help="Say this and leave; repeatable.")] = None,
    as_json: JsonOption = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget earlier conversations.")] = False,
) -> None:
    """Start everything and chat; without a terminal, play a tour instead."""
    if fresh:
        shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        status = run_async(_demo(tuple(say or ()), as_json=as_json))
    except SkillsHostError as exc:
        fail(exc, status=Exit.UNREACHABLE)
    except KeyboardInterrupt:
        status = Exit.DONE
    raise typer.Exit(status)


async def _demo(lines: tuple[str, ...], *, as_json: bool) -> Exit:
    async with interruptible(), _started() as (world, chat, send):
        terminal = Terminal(stderr=as_json, highlight=False)
        _introduce(terminal, world)
        if lines:
            return _shown(await played(chat, lines, terminal), [], as_json=as_json)
        if sys.stdin.isatty() and not as_json:
            await chatted(chat, terminal)
            return Exit.DONE
        exchanges = await played(chat, TOUR, terminal)
        refusals = await _strangers(world, send, terminal)
        return _shown(exchanges, refusals, as_json=as_json)


@contextlib.asynccontextmanager
async def _started() -> AsyncIterator[tuple[ProcessWorld, Chat, Send]]:
    """The running world and a chat with its root."""
    taken: set[int] = set()
    ports = {name: free_port(port, taken=taken) for name, port in PORTS.items()}
    skills, manifests = _bundled()
    root = Inhabitant("root", "root", APP_IDS["root"], ports["root"])
    bots = [
        Inhabitant(name, "skill", APP_IDS[name], ports[name], skills / f"{name}.py", PHRASES[name])
        for name in ("echo", "booking")
    ]
    stranger = Inhabitant("stranger", "skill", APP_IDS["stranger"], 0)
    async with contextlib.AsyncExitStack() as stack:
        send = Client(guard=allow_loopback)
        stack.push_async_callback(send.close)
        world = await stack.enter_async_context(
            ProcessWorld(FOLDER.resolve(), send=send, root=root, skills=bots)
        )
        await world.start_lab(ports["lab"], others=[stranger])
        await world.start_bots(manifests)
        lab = LabClient(send, lab_url=world.lab_url, mint_secret=world.mint_secret)
        chat = await stack.enter_async_context(
            opened_chat(
                lab,
                bot_url=root.url,
                bot_app_id=root.app_id,
                port=ports["console"],
                send=send,
                user="you",
            )
        )
        yield world, chat, send


def _bundled() -> tuple[Path, Path]:
    """Where the example skills and their manifests are: in the wheel, or in the source tree."""
    package = Path(__file__).resolve().parent.parent
    for base in (package / "_bundled", package.parent):
        if (base / "skills" / "echo.py").exists():
            return base / "skills", base / "manifests"
    fail("the example skills are not installed", status=Exit.UNREACHABLE)


def _introduce(terminal: Terminal, world: ProcessWorld) -> None:
    terminal.print(f"lab      {world.lab_url}  (issues the tokens)", soft_wrap=True)
    for bot in (world.root, *world.skills):
        terminal.print(f"{bot.name:8} {bot.url}  app id {bot.app_id}", soft_wrap=True)
    terminal.print(f"logs and stores: {world.folder}\n", soft_wrap=True)


async def _strangers(world: ProcessWorld, send: Send, terminal: Terminal) -> list[Refusal]:
    """What happens to those who may not: nobody's token, a stranger's, a token for another bot."""
    lab = LabClient(send, lab_url=world.lab_url, mint_secret=world.mint_secret)
    echo = next(skill for skill in world.skills if skill.name == "echo")
    stranger = APP_IDS["stranger"]
    attempts = (
        ("no token", None, world.root),
        ("a stranger with a real token for the root", (stranger, world.root.app_id), world.root),
        ("a stranger with a real token for echo", (stranger, echo.app_id), echo),
        ("the root with a token for another bot", (world.root.app_id, stranger), echo),
    )
    refusals = []
    for attempt, pair, target in attempts:
        headers = {"Content-Type": "application/json"}
        if pair is not None:
            token = await lab.token(kind="app", client_id=pair[0], audience=pair[1])
            headers["Authorization"] = f"Bearer {token}"
        url = f"{target.url}/api/messages"
        answer = await send(Request("POST", url, headers, b'{"type":"message"}'))
        code = decode(answer.body)["error"]["code"]
        refusals.append(Refusal(attempt, answer.status, code))
        terminal.print(f"[bold]{attempt}[/bold]: refused with {answer.status} {code}")
    return refusals


def _shown(exchanges: list[Exchange], refusals: list[Refusal], *, as_json: bool) -> Exit:
    complete = all(exchange.is_answered for exchange in exchanges)
    if as_json:
        found: dict[str, Any] = {
            "answered": complete,
            "transcript": [asdict(exchange) for exchange in exchanges],
            "refusals": [asdict(refusal) for refusal in refusals],
        }
        print_json(found)
    refused = all(400 <= refusal.status < 500 for refusal in refusals)
    return Exit.DONE if complete and refused else Exit.SAID_NO
