"""`skills-host route`: which skill words go to, how often that is right, and where skills overlap.

It works on what the registry and the settings say now, whether a host runs or not.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer

from skills_host.cli.registry import with_registry
from skills_host.cli.terminal import ConfigOption, Exit, JsonOption, fail, print_json
from skills_host.configured import configured_words
from skills_host.consumer.registry.registry import Registry
from skills_host.consumer.routing.chain import RouterStep, routers_of
from skills_host.consumer.routing.evaluation import NONE, Evaluation, Verdict, samples_of
from skills_host.consumer.routing.explain import Question, explained
from skills_host.consumer.routing.grants import Asker
from skills_host.consumer.routing.known import KnownSkills
from skills_host.consumer.routing.model import ModelRouter
from skills_host.consumer.routing.overlaps import Overlap, overlaps
from skills_host.consumer.routing.reserved import ReservedWords
from skills_host.consumer.routing.route import Known
from skills_host.errors import SettingsError
from skills_host.registered import usable_skills
from skills_host.settings import Settings
from skills_host.transport import Client

__all__ = ["route"]

route = typer.Typer(help="Which skill words go to.", no_args_is_help=True)

BotOption = Annotated[
    str, typer.Option("--bot", help="The root that hears them (default: the host's first).")
]
LocaleOption = Annotated[str, typer.Option(help="The language of who says it, such as de-CH.")]
UserOption = Annotated[str, typer.Option(help="The id or Entra object id of who says it.")]
ChannelOption = Annotated[str, typer.Option(help="The channel's id, such as msteams.")]
TenantOption = Annotated[str, typer.Option(help="The tenant of the conversation.")]
ActiveOption = Annotated[str, typer.Option(help="The skill that has the floor.")]
ModelOption = Annotated[bool, typer.Option("--model", help="Ask the language model too.")]
LeastOption = Annotated[
    float, typer.Option(min=0, max=1, help="The accuracy from 0 to 1 below which the status is 1.")
]


@route.command("explain")
def explain(
    text: Annotated[str, typer.Argument(help="What the user says.")],
    bot: BotOption = "",
    locale: LocaleOption = "",
    user: UserOption = "",
    channel: ChannelOption = "",
    tenant: TenantOption = "",
    active: ActiveOption = "",
    model: ModelOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which skill words would go to, and why."""

    async def run(registry: Registry, settings: Settings) -> None:
        asker = _asker(settings, bot, user, channel, tenant)
        known = await _known(registry, settings)
        words = _words(settings)
        async with _routers(settings, model=model) as routers:
            question = Question(text, asker, locale, active)
            decision = await explained(question, known, words, routers)
        if as_json:
            print_json(decision.as_dict())
            return
        by = ", ".join(filter(None, (decision.router, decision.policy)))
        typer.echo(f"{decision.kind} {decision.skill or '-'}" + (f" ({by})" if by else ""))
        for found in decision.candidates:
            typer.echo(f"  {found.skill}  {found.score:.2f}  {found.why}")
        for line in decision.trace:
            typer.echo(f"  {line}")

    with_registry(config, run)


@route.command("test")
def test(
    file: Annotated[Path, typer.Argument(help="Utterance, tab, skill or `none`; one a line.")],
    bot: BotOption = "",
    locale: LocaleOption = "",
    user: UserOption = "",
    channel: ChannelOption = "",
    tenant: TenantOption = "",
    at_least: LeastOption = 1.0,
    model: ModelOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Route a file of utterances whose skill is known; status 1 below `--at-least`."""
    try:
        samples = samples_of(file.read_text(encoding="utf-8"), source=str(file))
    except (OSError, UnicodeDecodeError, SettingsError) as exc:
        fail(exc if isinstance(exc, SettingsError) else f"{file}: {exc}", status=Exit.USAGE)

    async def run(registry: Registry, settings: Settings) -> None:
        asker = _asker(settings, bot, user, channel, tenant)
        known = await _known(registry, settings)
        words, verdicts = _words(settings), []
        named = {sample.expected for sample in samples} - {NONE}
        if unknown := sorted(named - known.skills.keys()):
            fail(f"{file}: no skill {unknown[0]!r} may be used", status=Exit.USAGE)
        async with _routers(settings, model=model) as routers:
            for sample in samples:
                question = Question(sample.text, asker, locale)
                decision = await explained(question, known, words, routers)
                verdicts.append(Verdict(sample, decision.skill or NONE, str(decision.kind)))
        found = Evaluation(verdicts)
        _print_evaluation(found, as_json=as_json)
        if found.accuracy < at_least:
            raise typer.Exit(Exit.SAID_NO)

    with_registry(config, run)


@route.command("overlaps")
def show_overlaps(
    names: Annotated[list[str] | None, typer.Argument(help="Skills (default: all).")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which phrases and examples of a skill go to another; status 1 if any does."""

    async def run(registry: Registry, settings: Settings) -> None:
        skills = await usable_skills(settings, registry)
        if unknown := sorted(set(names or ()) - skills.keys()):
            fail(f"no skill {unknown[0]!r} may be used", status=Exit.USAGE)
        found = overlaps(skills, policy=settings.routing.examples, of=names)
        if as_json:
            print_json([one.as_dict() for one in found])
        else:
            for one in found:
                _print_overlap(one)
        if found:
            raise typer.Exit(Exit.SAID_NO)

    with_registry(config, run)


def _print_overlap(one: Overlap) -> None:
    typer.echo(str(one))
    for text in one.texts:
        typer.echo(f"  {text}")


def _print_evaluation(found: Evaluation, *, as_json: bool) -> None:
    figures = {
        "accuracy": found.accuracy,
        "coverage": found.coverage,
        "precision": found.precision,
    }
    wrong = [
        {
            "line": one.sample.line,
            "text": one.sample.text,
            "expected": one.sample.expected,
            "got": one.got,
            "kind": one.kind,
        }
        for one in found.wrong
    ]
    if as_json:
        rounded = {name: round(share, 4) for name, share in figures.items()}
        told = {"samples": len(found.verdicts), **rounded, "confusion": found.confusion}
        print_json(told | {"wrong": wrong})
        return
    typer.echo(f"{len(found.verdicts)} samples")
    for name, share in figures.items():
        typer.echo(f"{name} {share:.1%}")
    for expected, row in found.confusion.items():
        typer.echo(f"{expected}: " + ", ".join(f"{got} {count}" for got, count in row.items()))
    for one in found.wrong:
        sample = one.sample
        typer.echo(
            f"line {sample.line}: {sample.expected}, but {one.got} ({one.kind}): {sample.text}"
        )


def _asker(settings: Settings, bot: str, user: str, channel: str, tenant: str) -> Asker:
    roots = [name for name, given in settings.bots.items() if given.kind == "root"]
    if bot and bot not in roots:
        fail(f"no bot {bot!r} of these settings is a root", status=Exit.USAGE)
    root = bot or next(iter(roots), "")
    return Asker(root, tenant.lower(), channel, frozenset(filter(None, [user])))


def _words(settings: Settings) -> ReservedWords:
    return ReservedWords().replaced(configured_words(settings))


async def _known(registry: Registry, settings: Settings) -> Known:
    skills = await usable_skills(settings, registry)
    return await KnownSkills(lambda: skills, settings.routing).now()


@asynccontextmanager
async def _routers(settings: Settings, *, model: bool) -> AsyncIterator[tuple[RouterStep, ...]]:
    """The language model, if it is to be asked; the root's own router is code of the host."""
    given = settings.routing.model
    if not model:
        yield ()
        return
    if given is None:
        fail("no [routing.model] is set", status=Exit.USAGE)
    client = Client()
    try:
        yield routers_of(settings.routing, None, ModelRouter(client, given, now=time.time))
    finally:
        await client.close()
