"""`skills-host token mint`: a token from a running lab, to try things by hand."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any

import typer

from skills_host.cli.lab import MINT_VARIABLE
from skills_host.cli.terminal import Exit, fail, run_async
from skills_host.errors import TransportFailed
from skills_host.transport import Client, Request, Response, allow_loopback

__all__ = ["mint", "token"]

token = typer.Typer(no_args_is_help=True, help="Tokens of a lab authority.")


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
