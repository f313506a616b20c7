"""A root with its REST API, and somebody with a token for each role."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from skills_host.admin.tokens import AdminTokens
from skills_host.consumer.registry.records import Actor, Order, Role
from skills_host.store.sqlite import SqliteStore
from skills_host.transport import Request, Response
from tests.consumer.registry.shelf import manifest
from tests.world import IDS, ROOT, Town, bot_settings

__all__ = ["API", "AUDIENCE", "TENANT", "Desk", "open_desk", "problem"]

API = f"{ROOT}/admin/v1"
ORDER = Order(Actor("bea"))
AUDIENCE = "e0000000-0000-4000-8000-000000000001"
TENANT = "d6d49420-f39b-4df7-a1dc-d59a935871db"


@dataclass
class Desk:
    """The API as those who use it see it; `tokens` by role, and `all` with every role."""

    town: Town
    tokens: dict[str, str] = field(default_factory=dict, repr=False)
    ids: dict[str, str] = field(default_factory=dict)
    store: Any = None

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        role: str = "all",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Response:
        """One request of somebody with a role; an empty body where there is none."""
        given = {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if raw is not None:
            given["Content-Type"] = "application/json"
        return await self.town.send(Request(method, f"{API}{path}", {**given, **headers}, raw, 20))

    async def change(
        self, path: str, body: Any = None, *, tag: str = "*", method: str = "POST", **more: Any
    ) -> Response:
        """A request with If-Match."""
        headers = {"If-Match": tag, **more.pop("headers", {})}
        return await self.ask(method, path, body, headers=headers, **more)

    async def registered(self, name: str, *, submit: bool = True) -> dict[str, Any]:
        """A skill that was just sent in, as it is told."""
        number = sum(map(ord, name))
        app_id = f"b1000000-0000-4000-8000-{number:012d}"
        given = manifest(name)
        given["endpoints"][0]["msAppId"] = app_id
        body = {"name": name, "manifest": json.dumps(given), "submit": submit}
        answer = await self.ask("POST", "/skills", body)
        assert answer.status == 201, answer.body
        told: dict[str, Any] = json.loads(answer.body)
        return told

    async def approved(self, name: str) -> dict[str, Any]:
        """A skill that runs, as it is told."""
        digest = (await self.registered(name))["revisions"][0]["digest"]
        answer = await self.change(f"/skills/{name}/revisions/{digest}:approve", {})
        assert answer.status == 200, answer.body
        told: dict[str, Any] = json.loads(answer.body)
        return told

    def entra(self, *roles: str, **claims: Any) -> dict[str, str]:
        """A header with a token of Entra's."""
        given = {"roles": list(roles), "tenant": TENANT} | claims
        token = self.town.authority.app_token(client_id=IDS["root"], audience=AUDIENCE, **given)
        return {"Authorization": f"Bearer {token}"}


async def open_desk(town: Town) -> Desk:
    """Start a root with the API, and make the tokens."""
    toml = {
        "bots": {"root": bot_settings("root", "root")},
        "admin": {
            "enabled": True,
            "failures": 1000,
            "entra": {"audience": AUDIENCE, "tenants": [TENANT]},
        },
    }
    await town.start(ROOT, "root", toml)
    desk = Desk(town, store=SqliteStore(town.folder / "root.db"))
    await desk.store.open()
    tokens = AdminTokens(desk.store, now=town.now, random=secrets.token_bytes)
    for role, held in {**{r.value: {r} for r in Role}, "all": set(Role), "none": set()}.items():
        made, desk.tokens[role] = await tokens.add(role, frozenset(held), seconds=3600, order=ORDER)
        desk.ids[role] = made.id
    return desk


def problem(answer: Response) -> tuple[int, str]:
    """Status and code of an answer that is a problem."""
    assert answer.headers["content-type"] == "application/problem+json", answer
    told = json.loads(answer.body)
    assert told["status"] == answer.status and told["type"].endswith(told["code"])
    return answer.status, told["code"]
