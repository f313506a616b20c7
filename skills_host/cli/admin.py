"""`skills-host admin`: the tokens that people and pipelines administer the registry with."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from skills_host.admin.tokens import AdminToken, AdminTokens
from skills_host.cli.registry import ActorOption, ReasonOption, order_of
from skills_host.cli.terminal import ConfigOption, Exit, JsonOption, fail, print_json, with_store
from skills_host.consumer.registry.records import Role
from skills_host.errors import BadInput
from skills_host.store.records import Store

__all__ = ["admin"]

DAY = 24 * 3600.0

admin = typer.Typer(no_args_is_help=True, help="Who administers the registry.")
token = typer.Typer(no_args_is_help=True, help="Tokens for /admin/v1.")
admin.add_typer(token, name="token")


@token.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Whose it is, as the audit trail will say.")],
    role: Annotated[list[Role], typer.Option("--role", help="What for; may be repeated.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it is good.")] = 90,
    reason: ReasonOption = "",
    actor: ActorOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token; it is shown this once."""

    async def run(store: Store) -> None:
        try:
            made, text = await _tokens(store).add(
                name, frozenset(role), seconds=days * DAY, order=order_of(actor, reason)
            )
        except BadInput as exc:
            fail(exc, status=Exit.USAGE)
        if as_json:
            print_json(_shown(made) | {"token": text})
            return
        typer.echo(text)
        typer.echo(_line(made), err=True)
        typer.echo("it is not shown again", err=True)

    with_store(config, run)


@token.command("list")
def list_tokens(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the tokens: whose they are and what for, never what they are."""

    async def run(store: Store) -> None:
        found = await _tokens(store).all()
        if as_json:
            print_json([_shown(one) for one in found])
            return
        for one in found:
            typer.echo(_line(one))

    with_store(config, run)


@token.command("revoke")
def revoke(
    id: Annotated[str, typer.Argument(help="The id, as listed; or the whole token.")],
    reason: ReasonOption = "",
    actor: ActorOption = None,
    config: ConfigOption = None,
) -> None:
    """Let a token not be good any more, at once and everywhere."""

    async def run(store: Store) -> None:
        # Somebody who has found a token somewhere may not know its id.
        known = id.removeprefix("skh_").partition("_")[0]
        found = await _tokens(store).revoke(known, order=order_of(actor, reason))
        if found is None:
            fail("there is no such token")
        typer.echo(_line(found))

    with_store(config, run)


def _tokens(store: Store) -> AdminTokens:
    return AdminTokens(store, now=time.time, random=secrets.token_bytes)


def _shown(one: AdminToken) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "roles": list(one.roles),
        "created": _moment(one.created),
        "expires": _moment(one.expires),
        "state": _state(one),
    }


def _line(one: AdminToken) -> str:
    roles = ",".join(one.roles)
    return f"{one.id}  {one.name}  {roles}  {_state(one)} until {_moment(one.expires)}"


def _state(one: AdminToken) -> str:
    if one.revoked is not None:
        return "revoked"
    return "good" if time.time() < one.expires else "expired"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
