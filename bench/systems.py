"""The contestants that are ours: the floor, and the host as its command line starts it."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.channel import Peer
from bench.database import temporary_database
from bench.lab import Lab
from bench.processes import OURS, Measured, free_port

__all__ = [
    "DIRECT",
    "EXPECT_REPLIES",
    "HOSTS",
    "NORMAL",
    "Host",
    "System",
    "floor",
    "host",
]

NORMAL, EXPECT_REPLIES, DIRECT = "normal", "expectReplies", "direct"
ECHO = Path(__file__).parent.parent / "skills" / "echo.py"
REDIS = os.environ.get("SKILLS_HOST_TEST_REDIS", "redis://127.0.0.1:6379/9")


@dataclass(frozen=True, slots=True)
class System:
    """A root and a skill that run; by way of asking, its door and the process behind that.

    The ways are the deliveries, and `direct`: the skill without a root before it.
    """

    name: str
    doors: Mapping[str, Peer]
    roots: Mapping[str, Measured]
    skill: Measured


@dataclass(frozen=True, slots=True)
class Host:
    """One way to run the host: what its root's store is, and how many processes it has.

    `prepare` gets the address of that store before the root begins.
    """

    name: str
    is_postgres: bool = False
    workers: int = 1
    prepare: Callable[[str], None] = lambda url: None

    @property
    def apps(self) -> list[str]:
        """The names of the apps that its processes need."""
        return [f"{self.name}-root", f"{self.name}-skill"]


HOSTS = {
    host.name: host
    for host in (Host("ours"), Host("ours-pg", is_postgres=True), Host("ours-2", workers=2))
}


@asynccontextmanager
async def floor(*, folder: Path, service_url: str) -> AsyncIterator[System]:
    """The bare pair of `bench/floor.py`."""
    root_port, skill_port = free_port(), free_port()
    module = [sys.executable, "-m", "bench.floor"]
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
        doors = {
            NORMAL: Peer("floor", f"{root.url}/api/messages", "root"),
            EXPECT_REPLIES: Peer("floor", f"{root.url}/api/replies", "root"),
            DIRECT: Peer("floor", f"{skill.url}/api/messages", "skill"),
        }
        roots = {NORMAL: root, EXPECT_REPLIES: root, DIRECT: skill}
        yield System("floor", doors, roots, skill)


@asynccontextmanager
async def host(
    kind: Host, *, lab: Lab, folder: Path, service_url: str, launcher: tuple[str, ...] = OURS
) -> AsyncIterator[System]:
    """`skills-host run skills/echo.py` and `skills-host serve`; the skill keeps SQLite."""
    root_name, skill_name = kind.apps
    root_port, skill_port = free_port(), free_port()
    root_config, skill_config = folder / f"{root_name}.toml", folder / f"{skill_name}.toml"
    several = ["--workers", str(kind.workers)] if kind.workers > 1 else []
    skill = Measured(
        skill_name,
        [*OURS, "run", str(ECHO), "--config", str(skill_config)],
        port=skill_port,
        folder=folder,
    )
    root = Measured(
        root_name,
        [*launcher, "serve", "--config", str(root_config), *several],
        port=root_port,
        folder=folder,
    )
    with ExitStack() as stack:
        url, extra = f"sqlite:///{folder}/{root_name}.db", ""
        if kind.is_postgres:
            url = stack.enter_context(temporary_database())
            extra = f'[coordination]\nurl = "{REDIS}"\n'
        kind.prepare(url)
        root_id, skill_id = lab.apps[root_name].app_id, lab.apps[skill_name].app_id
        root_config.write_text(
            _config(root, "root", url, lab=lab, app=root_name) + extra + _skills(skill, skill_id)
        )
        skill_config.write_text(
            _config(skill, "skill", f"sqlite:///{folder}/{skill_name}.db", lab=lab, app=skill_name)
            + f'allowed_callers = ["{root_id}"]\n'
        )
        for process in (skill, root):
            stack.enter_context(process)
            await process.ready()
        root_token = await lab.channel_token(root_name, service_url=service_url)
        skill_token = await lab.channel_token(skill_name, service_url=service_url)
        root_url = f"{root.url}/api/messages"
        doors = {
            NORMAL: Peer(kind.name, root_url, root_id, opening=("echo",), token=root_token),
            EXPECT_REPLIES: Peer(
                kind.name, root_url, root_id, opening=("replies",), token=root_token
            ),
            DIRECT: Peer(kind.name, f"{skill.url}/api/messages", skill_id, token=skill_token),
        }
        yield System(kind.name, doors, {NORMAL: root, EXPECT_REPLIES: root, DIRECT: skill}, skill)


def _skills(skill: Measured, app_id: str) -> str:
    """One skill under two names, one for each delivery."""
    where = f'endpoint = "{skill.url}/api/messages"\napp_id = "{app_id}"\n'
    return (
        f'[skills.echo]\n{where}phrases = ["echo"]\n'
        f'[skills.replies]\n{where}phrases = ["replies"]\ndelivery = "expectReplies"\n'
    )


def _config(process: Measured, kind: str, store: str, *, lab: Lab, app: str) -> str:
    """A settings file up to the end of its one bot's table."""
    return f"""
[host]
bind = "127.0.0.1:{process.port}"
[store]
url = "{store}"
[cloud]
login_url = "{lab.url}"
entra_metadata = "{lab.url}/common/v2.0/.well-known/openid-configuration"
channel_metadata = "{lab.url}/v1/.well-known/openidconfiguration"
[bots.{kind}]
kind = "{kind}"
app_id = "{lab.apps[app].app_id}"
credential = {{ secret = "{lab.apps[app].secret}" }}
"""
