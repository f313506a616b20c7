"""`skills-host token`: a token of a running lab, and what this host would decide about one."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from typing import Annotated, Any

import typer

from skills_host.auth.explain import Finding, explained
from skills_host.auth.keys import SigningKeys
from skills_host.auth.verify import Door
from skills_host.cli.lab import MINT_VARIABLE
from skills_host.cli.terminal import (
    ConfigOption,
    Exit,
    JsonOption,
    fail,
    print_json,
    run_async,
    settings_at,
)
from skills_host.configured import configured_skills, trusts_lab, verifier_of
from skills_host.consumer.registry.compile import snapshot_of
from skills_host.errors import SettingsError, TransportFailed
from skills_host.settings import Settings
from skills_host.transport import (
    Client,
    Request,
    Response,
    allow_https_or_loopback,
    allow_loopback,
)

__all__ = ["explain", "mint", "token"]

token = typer.Typer(
    no_args_is_help=True, help="Tokens: of a lab, and what this host thinks of them."
)


@token.command("mint")
def mint(
    audience: Annotated[str, typer.Option(help="App id of the bot that the token is for.")],
    client: Annotated[
        str | None, typer.Option(help="App id that calls; without it, a channel's token.")
    ] = None,
    service_url: Annotated[
        str, typer.Option(help="What a channel's token vouches for.")
    ] = "http://127.0.0.1:3982",
    lifetime: Annotated[int, typer.Option(help="Seconds; negative for an expired one.")] = 3600,
    lab: Annotated[str, typer.Option(help="The lab's address.")] = "http://127.0.0.1:3979",
) -> None:
    """Print a token. SKILLS_HOST_LAB_MINT holds the secret that the lab was started with."""
    wanted: dict[str, Any] = {"audience": audience, "lifetime": lifetime}
    if client is None:
        wanted |= {"kind": "channel", "service_url": service_url}
    else:
        wanted |= {"kind": "app", "client_id": client}
    try:
        answer: Response = run_async(_asked(lab, wanted))
    except TransportFailed as exc:
        fail(exc, status=Exit.UNREACHABLE)
    if not answer.ok:
        fail(f"the lab answered {answer.status}")
    typer.echo(json.loads(answer.body)["token"])


async def _asked(lab: str, wanted: dict[str, Any]) -> Response:
    client = Client(guard=allow_loopback)
    secret = os.environ.get(MINT_VARIABLE, "")
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    try:
        return await client(
            Request("POST", f"{lab.rstrip('/')}/lab/tokens", headers, json.dumps(wanted).encode())
        )
    finally:
        await client.close()


@token.command("explain")
def explain(
    config: ConfigOption = None,
    bot: Annotated[
        str | None, typer.Option(help="Which of our bots is called (default: the default bot).")
    ] = None,
    door: Annotated[Door, typer.Option(help="Where the caller comes in.")] = Door.MESSAGES,
    network: Annotated[
        bool, typer.Option(help="Ask the authority for its keys; without, no signature is checked.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Say, rule by rule, what this host would decide about the token on standard input, and why.

    Exit status: 0 it would be let in, 1 it would not, 3 the authority's keys cannot be had.
    """
    settings = settings_at(config)
    name = bot or settings.default_bot
    if name not in settings.bots:
        fail(f"there is no bot {name}", status=Exit.USAGE)
    given = sys.stdin.read().strip()
    given = given.partition(" ")[2] if given.lower().startswith("bearer ") else given
    try:
        findings = run_async(_explained(settings, given, name, door, network=network))
    except SettingsError as exc:
        fail(exc)
    if as_json:
        print_json([asdict(finding) | _advice(finding) for finding in findings])
    else:
        for finding in findings:
            _print(finding)
    raise typer.Exit(_status(findings))


async def _explained(
    settings: Settings, given: str, name: str, door: Door, *, network: bool
) -> tuple[Finding, ...]:
    skills = configured_skills(settings)
    snapshot = snapshot_of(settings, skills)
    lab = trusts_lab(settings, skills)
    client = Client(guard=allow_loopback if lab else allow_https_or_loopback)
    keys = SigningKeys(client, now=time.time, allow_lab=lab)
    verifier = verifier_of(settings, keys, lambda: snapshot, now=time.time)
    try:
        return await explained(
            verifier,
            given,
            door=door,
            bot_app_id=settings.bots[name].app_id,
            with_keys=network,
        )
    finally:
        await keys.close()
        await client.close()


def _print(finding: Finding) -> None:
    typer.echo(f"{finding.verdict:>11}  {finding.rule}  {finding.code or finding.seen}".rstrip())
    if finding.verdict == "refused":
        typer.echo(f"{'':>13}expected {finding.expected or '-'}, seen {finding.seen or '-'}")
        typer.echo(f"{'':>13}{finding.fix}" + (f" ({finding.setting})" if finding.setting else ""))


def _advice(finding: Finding) -> dict[str, str]:
    return {"setting": finding.setting, "fix": finding.fix} if finding.code else {}


def _status(findings: tuple[Finding, ...]) -> Exit:
    codes = {finding.code for finding in findings if finding.verdict == "refused"}
    if codes == {"keys-unavailable"}:
        return Exit.UNREACHABLE
    return Exit.SAID_NO if codes else Exit.DONE
