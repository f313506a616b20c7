"""What the lab's tests share: two registered apps, a settable clock, a way into an app."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from quart import Quart
from quart.testing import QuartClient

from skills_host.lab.authority import Authority, LabApp
from skills_host.transport import Request, Response, Send

ROOT_ID = "a0000000-0000-4000-8000-000000000001"
SKILL_ID = "b0000000-0000-4000-8000-000000000002"
TENANT = "c0000000-0000-4000-8000-000000000003"
SINGLE_ID = "d0000000-0000-4000-8000-000000000004"
LAB_URL = "http://127.0.0.1:8400"
CHANNEL = "https://api.botframework.com"


class Clock:
    """Seconds since the epoch that stand still until they are set."""

    def __init__(self, seconds: float = 1_800_000_000.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


def authority_at(clock: Clock) -> Authority:
    """An authority with a root, a skill with older tokens, and an app of one tenant only."""
    apps = (
        LabApp(ROOT_ID, "root-secret"),
        LabApp(SKILL_ID, "skill-secret", token_version="1.0"),
        LabApp(SINGLE_ID, "single-secret", tenant=TENANT),
    )
    return Authority(apps=apps, base_url=LAB_URL, now=clock)


def loopback(app: Quart) -> Send:
    """A `Send` that calls `app` in this process, with the path exactly as it is written."""

    async def send(request: Request) -> Response:
        parts = urlsplit(request.url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        scope: dict[str, Any] = {"raw_path": parts.path.encode("ascii")}
        answer = await QuartClient(app).open(
            path,
            method=request.method,
            headers={"Host": parts.netloc, **request.headers},
            data=request.body,
            scheme=parts.scheme,
            scope_base=scope,
        )
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Response(answer.status_code, headers, await answer.get_data(as_text=False))

    return send
