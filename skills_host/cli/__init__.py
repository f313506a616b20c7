"""The command `skills-host`: one file per noun.

Exit status: 0 done, 1 said no, 2 usage, 3 cannot reach what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

__all__ = ["cli", "main"]

# In the order of the help: what a command's module and its name in it are called.
_HOMES = {
    "demo": "demo",
    "serve": "serve",
    "run": "run",
    "chat": "chat",
    "check": "check",
    "doctor": "doctor",
    "hosts": "hosts",
    "lab": "lab",
    "import": "import_",
    "skill": "skill",
    "grant": "grant",
    "route": "route",
    "allowlist": "allowlist",
    "audit": "audit",
    "lock": "lock",
    "admin": "admin",
    "token": "token",
    "cert": "cert",
    "conversations": "conversations",
    "denials": "denials",
    "outbox": "outbox",
    "manifest": "manifest",
}
# Verbs of a noun that have a file of their own.
_VERBS = {
    "skill": {"ping": "ping", "export": "bundle.export", "import-bundle": "bundle.import_bundle"}
}


class _OnDemand(TyperGroup):
    """The commands, each loaded when it is asked for: a host carries none but its own."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All their names."""
        return list(_HOMES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One of them; where there is none of that name, those that may be meant are known."""
        for name in [cmd_name] if cmd_name in _HOMES else _HOMES:
            if name not in self.commands:
                self.commands[name] = _loaded(name)
        return super().get_command(ctx, cmd_name)


def _loaded(name: str) -> Any:
    command = _command(name, _HOMES[name])
    for verb, home in _VERBS.get(name, {}).items():
        command.commands[verb] = _command(verb, home)
    return command


def _command(name: str, home: str) -> Any:
    module, _, attribute = home.partition(".")
    found = getattr(import_module(f"skills_host.cli.{module}"), attribute or module)
    group = typer.Typer(callback=lambda: None)
    if isinstance(found, typer.Typer):
        group.add_typer(found, name=name)
    else:
        group.command(name)(found)
    return get_command(group).commands[name]  # type: ignore[attr-defined]


cli = typer.Typer(
    cls=_OnDemand,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_show_locals=False,
)


@cli.callback()
def _everything() -> None:
    """Skill consumer and skill orchestration for Bot Framework-protocol bots."""


def main() -> None:
    """The entry point."""
    cli()
