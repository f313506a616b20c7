"""The command `skills-host`: one file per noun.

Exit status: 0 done, 1 said no, 2 usage, 3 cannot reach what it needs.
"""

from __future__ import annotations

import typer

from skills_host.cli.admin import admin
from skills_host.cli.allowlist import allowlist
from skills_host.cli.audit import audit
from skills_host.cli.bundle import export, import_bundle
from skills_host.cli.cert import cert
from skills_host.cli.chat import chat
from skills_host.cli.check import check
from skills_host.cli.conversations import conversations
from skills_host.cli.demo import demo
from skills_host.cli.denials import denials
from skills_host.cli.doctor import doctor
from skills_host.cli.grant import grant
from skills_host.cli.hosts import hosts
from skills_host.cli.import_ import import_
from skills_host.cli.lab import lab
from skills_host.cli.lock import lock
from skills_host.cli.manifest import manifest
from skills_host.cli.outbox import outbox
from skills_host.cli.ping import ping
from skills_host.cli.route import route
from skills_host.cli.run import run
from skills_host.cli.serve import serve
from skills_host.cli.skill import skill
from skills_host.cli.token import token

__all__ = ["cli", "main"]

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_show_locals=False,
    help="Skill consumer and skill orchestration for Bot Framework-protocol bots.",
)
for command in (demo, serve, run, chat, check, doctor, hosts, lab):
    cli.command()(command)
cli.command("import")(import_)
skill.command("ping")(ping)
skill.command("export")(export)
skill.command("import-bundle")(import_bundle)
cli.add_typer(skill, name="skill")
cli.add_typer(grant, name="grant")
cli.add_typer(route, name="route")
cli.add_typer(allowlist, name="allowlist")
cli.add_typer(audit, name="audit")
cli.add_typer(lock, name="lock")
cli.add_typer(admin, name="admin")
cli.add_typer(token, name="token")
cli.add_typer(cert, name="cert")
cli.add_typer(conversations, name="conversations")
cli.add_typer(denials, name="denials")
cli.add_typer(outbox, name="outbox")
cli.add_typer(manifest, name="manifest")


def main() -> None:
    """The entry point."""
    cli()
