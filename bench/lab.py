"""The one lab of a run: it knows the app of every contestant and issues all tokens."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5

from bench.processes import OURS, Measured, free_port
from skills_host.transport import Client, Request

__all__ = ["FIXED_PORT", "WITH_HOSTS", "App", "Lab", "no_fixed_hosts", "started_lab"]

FIXED_PORT = 443
"""Where SDKs look for the authorities whose addresses are fixed in their code."""
WITH_HOSTS = ("tests/peers/with_hosts", "tests/peers/hosts")


@dataclass(frozen=True, slots=True)
class App:
    """One app registration."""

    app_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Lab:
    """Where the authority listens, over http and https, and the files of what to trust."""

    url: str
    secure_url: str
    ca: Path
    bundle: Path
    apps: dict[str, App]
    mint_secret: str = field(repr=False)

    async def channel_token(self, name: str, *, service_url: str) -> str:
        """A channel's token for the app of this name."""
        wanted = {"kind": "channel", "audience": self.apps[name].app_id, "service_url": service_url}
        headers = {
            "Authorization": f"Bearer {self.mint_secret}",
            "Content-Type": "application/json",
        }
        client = Client()
        try:
            answer = await client(
                Request("POST", f"{self.url}/lab/tokens", headers, json.dumps(wanted).encode())
            )
        finally:
            await client.close()
        if not answer.ok:
            raise RuntimeError(f"the lab answered {answer.status}")
        return str(json.loads(answer.body)["token"])


@asynccontextmanager
async def started_lab(names: Iterable[str], *, folder: Path) -> AsyncIterator[Lab]:
    """A lab that knows an app for each name; with https where fixed hosts can be had."""
    apps = {
        name: App(str(uuid5(NAMESPACE_DNS, f"bench-{name}")), secrets.token_urlsafe(24))
        for name in names
    }
    mint_secret = secrets.token_urlsafe(24)
    listed = [{"app_id": app.app_id, "secret": app.secret} for app in apps.values()]
    port, secure = free_port(), free_port() if no_fixed_hosts() else FIXED_PORT
    ca, bundle = folder / "ca.pem", folder / "bundle.pem"
    process = Measured(
        "lab",
        [
            *(*OURS, "lab", "--http", f"127.0.0.1:{port}", "--https", f"127.0.0.1:{secure}"),
            *("--ca", str(ca), "--bundle", str(bundle)),
        ],
        port=port,
        folder=folder,
        environ=os.environ
        | {"SKILLS_HOST_LAB_MINT": mint_secret, "SKILLS_HOST_LAB_APPS": json.dumps(listed)},
    )
    with process:
        await process.ready()
        secure_url = "https://localhost" + ("" if secure == FIXED_PORT else f":{secure}")
        yield Lab(process.url, secure_url, ca, bundle, apps, mint_secret)


def no_fixed_hosts() -> str:
    """Why the lab cannot stand for addresses that are fixed in code; empty if it can."""
    try:
        socket.create_server(("127.0.0.1", FIXED_PORT)).close()
    except OSError as error:
        return f"port {FIXED_PORT}: {error.strerror}"
    tried = subprocess.run([*WITH_HOSTS, "true"], capture_output=True, text=True, check=False)
    return tried.stderr.strip() if tried.returncode else ""
