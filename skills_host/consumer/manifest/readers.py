"""Reading skill manifests of schema 2.x, and filling in the templates of our own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from skills_host.consumer.manifest.model import Endpoint, Manifest
from skills_host.errors import BadInput, SettingsError
from skills_host.settings import Address, AppId
from skills_host.wire import decode, decode_members

__all__ = ["MANIFEST_BYTES", "read_manifest", "rendered"]

MANIFEST_BYTES = 512 * 1024

_Text = Annotated[str, Field(min_length=1)]


class _Endpoint(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    name: _Text
    endpoint_url: Address = Field(alias="endpointUrl")
    app_id: AppId = Field(alias="msAppId")
    protocol: str = "BotFrameworkV3"


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    id: _Text = Field(alias="$id")
    name: _Text
    version: str
    publisher: str = Field(alias="publisherName")
    description: str = ""
    endpoints: tuple[_Endpoint, ...] = Field(min_length=1)


def read_manifest(data: bytes, *, source: str) -> Manifest:
    """The manifest in `data`; `SettingsError` naming `source` and the fault otherwise.

    `$schema` is not fetched, and what is not understood is ignored.
    """
    if len(data) > MANIFEST_BYTES:
        raise SettingsError(f"{source}: a manifest has at most {MANIFEST_BYTES} bytes")
    try:
        members = decode_members(data)
        found = _Manifest.model_validate({name: decode(raw) for name, raw in members.items()})
    except BadInput as exc:
        raise SettingsError(f"{source}: {exc}") from None
    except ValidationError as exc:
        fault = exc.errors(include_input=False, include_url=False)[0]
        where = "/".join(str(part) for part in fault["loc"])
        raise SettingsError(f"{source}: /{where}: {fault['msg']}") from None
    return Manifest(
        id=found.id,
        name=found.name,
        version=found.version,
        description=found.description,
        publisher=found.publisher,
        endpoints=tuple(
            Endpoint(endpoint.name, endpoint.endpoint_url, endpoint.app_id)
            for endpoint in found.endpoints
        ),
    )


def rendered(template: str, values: Mapping[str, str]) -> str:
    """A manifest template with each `${name}` replaced by its value, as JSON text."""
    for name, value in values.items():
        template = template.replace(f"${{{name}}}", json.dumps(value)[1:-1])
    return template
