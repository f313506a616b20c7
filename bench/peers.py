"""Bots on published SDKs as contestants: the consumers and skills of the interop suite.

They run as published, with authentication on, credentials cached and memory for a store; see
`tests/peers/`. `scripts/peers` builds them.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from bench.channel import Peer
from bench.lab import WITH_HOSTS, Lab, no_fixed_hosts
from bench.processes import Measured, free_port
from bench.systems import DIRECT, EXPECT_REPLIES, NORMAL, System

__all__ = ["PEERS", "names_of", "peer_system", "why_not"]

PEERS = {
    "bfpy": "botbuilder-python 4.17.1",
    "bfjs": "botbuilder (npm) 4.23.3",
    "agpy": "microsoft-agents-hosting (PyPI) 1.9.0",
    "agjs": "@microsoft/agents-hosting (npm) 1.8.1",
}
INTERPRETERS = {
    "bfpy": (".peers/bfpy/bin/python",),
    "bfjs": ("node",),
    "agpy": (*WITH_HOSTS, ".peers/agpy/bin/python"),
    "agjs": (*WITH_HOSTS, "node"),
}
HOST_PATHS = {"agpy": "/api/skills/", "agjs": "/api/agentresponse/"}
# The client of the Agents SDK for JavaScript does not read answers.
DELIVERIES = {"agjs": (NORMAL,)}


def names_of(peer: str) -> list[str]:
    """The names of the apps that a peer's processes need."""
    return [f"{peer}-skill", *(f"{peer}-{mode}" for mode in _deliveries(peer))]


def why_not(peer: str) -> str:
    """Why a peer cannot run here; empty if it can."""
    if not Path(f".peers/{peer}/stamp").exists():
        return "not built (scripts/peers)"
    return no_fixed_hosts() if peer.startswith("ag") else ""


@asynccontextmanager
async def peer_system(
    peer: str, *, lab: Lab, folder: Path, service_url: str
) -> AsyncIterator[System]:
    """A skill, and a consumer of it for each delivery."""
    roots = {mode: f"{peer}-{mode}" for mode in _deliveries(peer)}
    async with AsyncExitStack() as stack:
        allowed = ",".join(lab.apps[name].app_id for name in roots.values())
        skill = _process(peer, "skill", f"{peer}-skill", lab, folder, {"ALLOWED_CALLERS": allowed})
        started = {DIRECT: skill}
        for mode, name in roots.items():
            extra = {
                "SKILL_APP_ID": lab.apps[f"{peer}-skill"].app_id,
                "SKILL_ENDPOINT": f"{skill.url}/api/messages",
                "DELIVERY": mode,
            }
            started[mode] = _process(peer, "root", name, lab, folder, extra)
        for process in started.values():
            stack.enter_context(process)
            await process.ready()
        names = {DIRECT: f"{peer}-skill", **roots}
        doors = {
            mode: Peer(
                peer,
                f"{process.url}/api/messages",
                lab.apps[names[mode]].app_id,
                token=await lab.channel_token(names[mode], service_url=service_url),
            )
            for mode, process in started.items()
        }
        yield System(peer, doors, roots={mode: started[mode] for mode in doors}, skill=skill)


def _deliveries(peer: str) -> tuple[str, ...]:
    return DELIVERIES.get(peer, (NORMAL, EXPECT_REPLIES))


def _process(
    peer: str, role: str, name: str, lab: Lab, folder: Path, extra: dict[str, str]
) -> Measured:
    port = free_port()
    environ = {
        "PORT": str(port),
        "APP_ID": lab.apps[name].app_id,
        "APP_PASSWORD": lab.apps[name].secret,
        "LAB": lab.secure_url,
        "LAB_HTTP": lab.url,
        "REQUESTS_CA_BUNDLE": str(lab.bundle),
        "SSL_CERT_FILE": str(lab.bundle),
        "NODE_EXTRA_CA_CERTS": str(lab.ca),
        "NODE_ENV": "production",
        "NO_PROXY": "localhost,127.0.0.1",
        "PATH": os.environ["PATH"],
        "HOST_URL": f"http://127.0.0.1:{port}{HOST_PATHS.get(peer, '/api/skills')}",
    }
    script = f"tests/peers/{peer}/{role}.{peer[-2:]}"
    return Measured(
        name, [*INTERPRETERS[peer], script], port=port, folder=folder, environ=environ | extra
    )
