"""The two systems that are compared: the floor, and the host as its command line starts it."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.channel import Peer
from bench.processes import Measured, free_port
from skills_host.transport import Client, Request

__all__ = ["SYSTEMS", "System", "floor", "ours"]

ECHO = Path(__file__).parent.parent / "skills" / "echo.py"
COMMAND = ("-m", "skills_host.cli")
ROOT_ID = "a0000000-0000-4000-8000-000000000001"
SKILL_ID = "b0000000-0000-4000-8000-000000000001"


@dataclass(frozen=True, slots=True)
class System:
    """A root and a skill that run, and how the channel reaches the root."""

    name: str
    peer: Peer
    root: Measured
    skill: Measured


@asynccontextmanager
async def floor(*, folder: Path, service_url: str) -> AsyncIterator[System]:
    """The bare pair of `bench/floor.py`."""
    root_port, skill_port = free_port(), free_port()
    module = ["-m", "bench.floor"]
    skill = Measured(
        "floor-skill",
        [*module, "skill", "--port", str(skill_port)],
        port=skill_port,
        folder=folder,
    )
    root = Measured(
        "floor-root",
        [*module, "root", "--port", str(root_port), "--skill-url", f"{skill.url}/api/messages"],
        port=root_port,
        folder=folder,
    )
    with ExitStack() as stack:
        for process in (skill, root):
            stack.enter_context(process)
            await process.ready()
        yield System("floor", Peer("floor", f"{root.url}/api/messages", "root"), root, skill)


@asynccontextmanager
async def ours(*, folder: Path, service_url: str) -> AsyncIterator[System]:
    """`skills-host lab`, `skills-host run skills/echo.py` and `skills-host serve`."""
    secret = {ROOT_ID: secrets.token_urlsafe(24), SKILL_ID: secrets.token_urlsafe(24)}
    mint_secret = secrets.token_urlsafe(24)
    environ = os.environ | {
        "SKILLS_HOST_LAB_MINT": mint_secret,
        "SKILLS_HOST_LAB_APPS": json.dumps(
            [{"app_id": app_id, "secret": text} for app_id, text in secret.items()]
        ),
    }
    lab_port, root_port, skill_port = free_port(), free_port(), free_port()
    lab = Measured(
        "lab",
        [*COMMAND, "lab", "--http", f"127.0.0.1:{lab_port}"],
        port=lab_port,
        folder=folder,
        environ=environ,
    )
    root_config, skill_config = folder / "root.toml", folder / "skill.toml"
    skill = Measured(
        "skill",
        [*COMMAND, "run", str(ECHO), "--config", str(skill_config)],
        port=skill_port,
        folder=folder,
    )
    root = Measured(
        "root", [*COMMAND, "serve", "--config", str(root_config)], port=root_port, folder=folder
    )
    root_config.write_text(
        _config(folder, root, "root", lab_url=lab.url, app_id=ROOT_ID, secret=secret[ROOT_ID])
        + f'[skills.echo]\nendpoint = "{skill.url}/api/messages"\napp_id = "{SKILL_ID}"\n'
        + 'phrases = ["echo"]\n'
    )
    skill_config.write_text(
        _config(folder, skill, "skill", lab_url=lab.url, app_id=SKILL_ID, secret=secret[SKILL_ID])
        + f'allowed_callers = ["{ROOT_ID}"]\n'
    )
    with ExitStack() as stack:
        for process in (lab, skill, root):
            stack.enter_context(process)
            await process.ready()
        token = await _channel_token(lab.url, mint_secret, service_url=service_url)
        peer = Peer("ours", f"{root.url}/api/messages", ROOT_ID, opening=("echo",), token=token)
        yield System("ours", peer, root, skill)


def _config(
    folder: Path, process: Measured, kind: str, *, lab_url: str, app_id: str, secret: str
) -> str:
    """A settings file up to the end of its one bot's table."""
    return f"""
[host]
bind = "127.0.0.1:{process.port}"
[store]
url = "sqlite:///{folder}/{kind}.db"
[cloud]
login_url = "{lab_url}"
entra_metadata = "{lab_url}/common/v2.0/.well-known/openid-configuration"
channel_metadata = "{lab_url}/v1/.well-known/openidconfiguration"
[bots.{kind}]
kind = "{kind}"
app_id = "{app_id}"
credential = {{ secret = "{secret}" }}
"""


async def _channel_token(lab_url: str, mint_secret: str, *, service_url: str) -> str:
    wanted = {"kind": "channel", "audience": ROOT_ID, "service_url": service_url}
    headers = {"Authorization": f"Bearer {mint_secret}", "Content-Type": "application/json"}
    body = json.dumps(wanted).encode()
    client = Client()
    try:
        answer = await client(Request("POST", f"{lab_url}/lab/tokens", headers, body))
    finally:
        await client.close()
    if not answer.ok:
        raise RuntimeError(f"the lab answered {answer.status}")
    return str(json.loads(answer.body)["token"])


SYSTEMS = {"floor": floor, "ours": ours}
"""By name, in the order of an odd round."""
