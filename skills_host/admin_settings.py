"""What settings say about administration: whether it is offered, and to whom beside own tokens."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from skills_host.clouds import AppId, Model

__all__ = ["AdminEntra", "AdminSettings"]


class AdminEntra(Model):
    """`[admin.entra]`: tokens of Entra with app roles, for `audience` and from these tenants only.

    `audience` is what the tokens say: the client id of the API's registration, or its address.
    """

    audience: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    tenants: Annotated[tuple[AppId, ...], Field(min_length=1)]


class AdminSettings(Model):
    """`[admin]`: the REST API under `/admin/v1`, off by default.

    Where the host binds to another than a loopback address, `behind_tls` states that TLS ends
    before it. `failures` bad tokens a minute are let try from one address.
    """

    enabled: bool = False
    behind_tls: bool = False
    failures: int = Field(default=10, ge=1, le=1000)
    entra: AdminEntra | None = None
