"""`skills-host chat`: talk to a root of one's own through the console channel, with lab tokens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.console import Console as Terminal

from skills_host.cli.lab import MINT_VARIABLE
from skills_host.cli.terminal import (
    ConfigOption,
    Exit,
    JsonOption,
    fail,
    print_json,
    run_async,
    settings_at,
    stopped,
)
from skills_host.errors import SkillsHostError
from skills_host.lab.chat import Chat, Exchange, LabClient, opened_chat
from skills_host.settings import Settings
from skills_host.transport import Client, allow_loopback, is_loopback

__all__ = ["chat", "chatted", "interruptible", "played"]


def chat(
    config: ConfigOption = None,
    say: Annotated[list[str] | None, typer.Option(help="Say this and leave; repeatable.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Chat with the default bot of a settings file that trusts a lab; both must be running.

    SKILLS_HOST_LAB_MINT holds the secret that the lab was started with.
    """
    settings = settings_at(config)
    if not is_loopback(urlsplit(settings.cloud.login_url).hostname or ""):
        fail("these settings trust no lab, so there is nobody to give the channel a token")
    try:
        status = run_async(_chat(settings, tuple(say or ()), as_json=as_json))
    except SkillsHostError as exc:
        fail(exc, status=Exit.UNREACHABLE)
    except KeyboardInterrupt:
        status = Exit.DONE
    raise typer.Exit(status)


async def _chat(settings: Settings, lines: tuple[str, ...], *, as_json: bool) -> Exit:
    terminal = Terminal(stderr=as_json, highlight=False)
    bot = settings.bots[settings.default_bot]
    async with interruptible(), contextlib.AsyncExitStack() as stack:
        send = Client(guard=allow_loopback)
        stack.push_async_callback(send.close)
        secret = os.environ.get(MINT_VARIABLE, "")
        lab = LabClient(send, lab_url=settings.cloud.login_url, mint_secret=secret)
        talk = await stack.enter_async_context(
            opened_chat(
                lab,
                bot_url=settings.host.public_url,
                bot_app_id=bot.app_id,
                port=0,
                send=send,
                user="you",
            )
        )
        if not lines:
            await chatted(talk, terminal)
            return Exit.DONE
        exchanges = await played(talk, lines, terminal)
    if as_json:
        print_json({"transcript": [asdict(exchange) for exchange in exchanges]})
    return Exit.DONE if all(found.is_answered for found in exchanges) else Exit.SAID_NO


@contextlib.asynccontextmanager
async def interruptible() -> AsyncIterator[None]:
    """Turn SIGTERM and Ctrl-C into a `KeyboardInterrupt` after what runs inside was cancelled."""
    inside = asyncio.current_task()
    watch = asyncio.create_task(stopped())
    watch.add_done_callback(lambda done: done.cancelled() or (inside and inside.cancel()))
    try:
        yield
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        watch.cancel()


async def played(chat: Chat, lines: Iterable[str], terminal: Terminal) -> list[Exchange]:
    """Say each line, show what is answered, and return it."""
    exchanges = []
    for line in lines:
        terminal.print(f"[bold]you[/bold]: {line}")
        exchanges.append(await chat.say(line))
        _print_answers(terminal, exchanges[-1])
    return exchanges


async def chatted(chat: Chat, terminal: Terminal) -> None:
    """Say what is typed until standard input ends."""
    terminal.print("Say something; “cancel” leaves a skill, Ctrl-D ends.\n")
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while True:
        terminal.print("[bold]you[/bold]: ", end="")
        line = await reader.readline()
        if not line:
            return
        if text := line.decode("utf-8", "replace").strip():
            _print_answers(terminal, await chat.say(text))


def _print_answers(terminal: Terminal, exchange: Exchange) -> None:
    if not 200 <= exchange.status < 300:
        terminal.print(f"[red]the root answered {exchange.status}[/red]")
    for answer in exchange.answers:
        terminal.print(f"[cyan]{answer.bot}[/cyan] ({answer.ms:.0f} ms): ", end="")
        terminal.print(answer.text, markup=False, soft_wrap=True)
