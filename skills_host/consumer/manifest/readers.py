"""Reading skill manifests of schema 2.x, and filling in the templates of our own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from skills_host.consumer.manifest.model import Endpoint, Manifest
from skills_host.errors import BadInput, SettingsError
from skills_host.settings import Address, AppId
from skills_host.wire import decode, decode_elements, decode_members, encode

__all__ = ["MANIFEST_BYTES", "read_manifest", "rendered"]

MANIFEST_BYTES = 512 * 1024

_Text = Annotated[str, Field(min_length=1)]
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANK = re.compile(r"\$\{(\w+)\}")


class _Endpoint(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    name: _Text
    endpoint_url: Address = Field(alias="endpointUrl")
    app_id: AppId = Field(alias="msAppId")
    protocol: str = "BotFrameworkV3"

    @property
    def is_spoken(self) -> bool:
        """True if this host speaks the endpoint's protocol; a few real manifests vary the case."""
        return self.protocol.lower() == "botframeworkv3"


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

    `$schema` is not fetched, and what is not understood is ignored: endpoints of other protocols
    too.
    """
    if len(data) > MANIFEST_BYTES:
        raise SettingsError(f"{source}: a manifest has at most {MANIFEST_BYTES} bytes")
    try:
        found = _Manifest.model_validate(_members(data.removeprefix(_BYTE_ORDER_MARK)))
    except BadInput as exc:
        raise SettingsError(f"{source}: {exc}") from None
    except ValidationError as exc:
        fault = exc.errors(include_input=False, include_url=False)[0]
        where = "/".join(str(part) for part in fault["loc"])
        reason = fault["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{source}: /{where}: {reason}") from None
    spoken = [endpoint for endpoint in found.endpoints if endpoint.is_spoken]
    if not spoken:
        raise SettingsError(f"{source}: /endpoints: none has the protocol BotFrameworkV3")
    return Manifest(
        id=found.id,
        name=found.name,
        version=found.version,
        description=found.description,
        publisher=found.publisher,
        endpoints=tuple(
            Endpoint(endpoint.name, endpoint.endpoint_url, endpoint.app_id) for endpoint in spoken
        ),
    )


def _members(data: bytes) -> dict[str, object]:
    """The manifest as Python values; no endpoint says two things at once."""
    members = decode_members(data)
    found: dict[str, object] = {name: decode(raw) for name, raw in members.items()}
    if isinstance(found.get("endpoints"), list):
        raw = decode_elements(members["endpoints"])
        found["endpoints"] = [_endpoint(index, element) for index, element in enumerate(raw)]
    return found


def _endpoint(index: int, raw: bytes) -> dict[str, object]:
    try:
        return {name: decode(value) for name, value in decode_members(raw).items()}
    except BadInput as exc:
        reason = "a member appears twice" if exc.code == "duplicate-member" else "not an object"
        raise BadInput(f"/endpoints/{index}: {reason}", code=exc.code) from None


def rendered(template: str, values: Mapping[str, str]) -> str:
    """A manifest template with each `${name}` replaced by its value, as JSON text.

    Raises `KeyError` for a name without a value.
    """
    return _BLANK.sub(lambda blank: encode(values[blank[1]]).decode()[1:-1], template)
