"""`skills-host lab`: a local authority that stands in for Entra and the channel, on loopback."""

from __future__ import annotations

import json
import os
import secrets
import ssl
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from skills_host.auth.certificates import BadCertificate
from skills_host.cli.terminal import (
    Exit,
    WithParentOption,
    fail,
    log_to_stderr,
    print_json,
    run_async,
    stopped,
)
from skills_host.errors import SettingsError
from skills_host.lab.authority import Authority, LabApp
from skills_host.lab.service import address_of, create_lab, listening, serve_lab
from skills_host.lab.tls import create_tls, write_bundle

__all__ = ["APPS_VARIABLE", "MINT_VARIABLE", "lab"]

APPS_VARIABLE = "SKILLS_HOST_LAB_APPS"
MINT_VARIABLE = "SKILLS_HOST_LAB_MINT"


def lab(
    http: Annotated[str, typer.Option(help="Where to listen for http.")] = "127.0.0.1:3979",
    https: Annotated[
        str | None, typer.Option(help="Where to listen for https, for SDKs that insist on it.")
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(help="Write the certificate to trust here (public).")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Write it together with the usual ones here.")
    ] = None,
    with_parent: WithParentOption = False,
) -> None:
    """Issue real tokens for the apps in the environment.

    SKILLS_HOST_LAB_APPS holds a JSON list of {"app_id", "secret" or "certificate" (PEM),
    "tenant"?, "token_version"?, "managed"?, "trusts"?},
    SKILLS_HOST_LAB_MINT the secret that `token mint` needs (made up if it is not set). Signing
    keys are made at start and are never written.
    """
    log_to_stderr()
    apps = _apps(os.environ.get(APPS_VARIABLE, ""))
    try:
        plain = listening(http)
        secure = listening(https) if https else None
    except SettingsError as exc:
        fail(exc, status=Exit.USAGE)
    except OSError as exc:
        fail(f"cannot listen: {exc.strerror}", status=Exit.UNREACHABLE)
    tls = _tls(ca=ca, bundle=bundle) if secure is not None else None
    authority = Authority(apps=apps, base_url=f"http://{address_of(plain)}")
    mint_secret = os.environ.get(MINT_VARIABLE) or secrets.token_urlsafe(24)
    print_json(
        {
            "http": f"http://{address_of(plain)}",
            "https": f"https://localhost:{secure.getsockname()[1]}" if secure else None,
            "apps": [app.app_id for app in apps],
        }
    )
    run_async(
        serve_lab(
            create_lab(authority, mint_secret=mint_secret),
            http=plain,
            https=secure,
            tls=tls,
            shutdown=partial(stopped, with_parent=with_parent),
        )
    )


def _tls(*, ca: Path | None, bundle: Path | None) -> ssl.SSLContext:
    """The server's context; what its clients must trust is written where it is wanted."""
    tls = create_tls()
    if ca is not None:
        ca.write_text(tls.ca_pem, encoding="utf-8")
    if bundle is not None:
        write_bundle(bundle, ca_pem=tls.ca_pem)
    return tls.server_context


def _apps(text: str) -> list[LabApp]:
    if not text:
        fail(f"{APPS_VARIABLE} lists no apps", status=Exit.USAGE)
    try:
        return [LabApp(**app) for app in json.loads(text)]
    except (TypeError, ValueError, AttributeError, BadCertificate) as exc:
        fail(f"{APPS_VARIABLE}: {type(exc).__name__} in its list", status=Exit.USAGE)
