"""`skills-host cert`: a certificate to prove a bot with, and what is in one that exists."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from skills_host.auth.certificates import (
    BadCertificate,
    Certificate,
    check_valid,
    read_certificate,
    read_public_certificate,
)
from skills_host.auth.self_signed import NAME_CHARACTERS, SelfSigned, self_signed
from skills_host.cli.terminal import Exit, JsonOption, fail, print_json

__all__ = ["PASSWORD_VARIABLE", "cert", "new", "show"]

PASSWORD_VARIABLE = "SKILLS_HOST_CERT_PASSWORD"  # noqa: S105 - its name, not its value
STEM = "bot"
PRIVATE = 0o600
PUBLIC = 0o644

cert = typer.Typer(no_args_is_help=True, help="Certificates that bots prove themselves with.")


@cert.command("new")
def new(
    name: Annotated[str, typer.Option(help="Common name of the certificate.")] = STEM,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it is valid.")] = 365,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Make a private key and a certificate that it signs itself; nothing is overwritten."""
    if not 0 < len(name) <= NAME_CHARACTERS or not name.isprintable():
        fail(f"--name: 1 to {NAME_CHARACTERS} printable characters", status=Exit.USAGE)
    paths = [out / f"{_stem(name)}{suffix}" for suffix in (".crt", ".key", ".pfx")]
    for path in paths:
        if path.exists():
            _refuse(path)
    made = self_signed(name, days=days, now=time.time())
    _write(paths, made)
    certificate = read_certificate(made.certificate_pem, key=made.key_pem)
    found = _found(certificate) | dict(
        zip(("certificate", "key", "pfx"), map(str, paths), strict=True)
    )
    if as_json:
        print_json(found)
    else:
        _print(found)
        _print_next(*paths)


@cert.command("show")
def show(
    file: Annotated[Path, typer.Argument(help="PEM, DER or PFX.")],
    as_json: JsonOption = False,
) -> None:
    """Print subject, thumbprints and expiry; exit status 1 if it is not valid now.

    The password of a PFX file that has one is in SKILLS_HOST_CERT_PASSWORD.
    """
    try:
        content = file.read_bytes()
    except OSError as exc:
        fail(f"{file}: {exc.strerror}", status=Exit.USAGE)
    try:
        certificate = read_public_certificate(content, password=os.environ.get(PASSWORD_VARIABLE))
    except BadCertificate as exc:
        fail(exc)
    found = _found(certificate)
    if as_json:
        print_json(found)
    else:
        _print(found)
    try:
        check_valid(certificate, now=time.time())
    except BadCertificate as exc:
        fail(exc)


def _stem(name: str) -> str:
    """A file name like the common name."""
    kept = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)
    return kept.strip("-.") or STEM


def _refuse(path: Path) -> NoReturn:
    fail(f"{path} exists; it is not overwritten")


def _write(paths: list[Path], made: SelfSigned) -> None:
    """Write all files or none; each is made with its permissions, so no key is ever readable."""
    contents = (made.certificate_pem, made.key_pem, made.pfx)
    with ExitStack() as undo:
        for path, content, mode in zip(paths, contents, (PUBLIC, PRIVATE, PRIVATE), strict=True):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
                undo.callback(path.unlink, missing_ok=True)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
            except FileExistsError:
                _refuse(path)
            except OSError as exc:
                fail(f"{path}: {exc.strerror}")
        undo.pop_all()


def _found(certificate: Certificate) -> dict[str, Any]:
    return {
        "subject": certificate.subject,
        "sha1": certificate.sha1,
        "sha256": certificate.sha256,
        "not_before": _moment(certificate.not_before),
        "not_after": _moment(certificate.not_after),
        "days_left": round(certificate.days_left(time.time()), 1),
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _print(found: dict[str, Any]) -> None:
    typer.echo(f"subject     {found['subject']}")
    typer.echo(f"SHA-1       {found['sha1']}")
    typer.echo(f"SHA-256     {found['sha256']}")
    typer.echo(f"valid from  {found['not_before']}")
    typer.echo(f"valid until {found['not_after']} ({found['days_left']} days left)")


def _print_next(certificate: Path, key: Path, pfx: Path) -> None:
    typer.echo(f"\n{certificate}: public. Upload it to the bot's app registration in Entra, under")
    typer.echo("  Certificates & secrets > Certificates > Upload certificate.")
    typer.echo(f"{key}: private, for this host alone. In its settings:")
    typer.echo(f'  credential = {{ certificate = "{certificate}", key = "{key}" }}')
    typer.echo(f"{pfx}: both, private, without a password, for hosts that want one file.")
