"""The clouds: one table of issuers and endpoints, each value overridable."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, field_validator

from skills_host.transport import allow_https_or_loopback

__all__ = ["CLOUDS", "Address", "AppId", "Cloud", "Model", "canonical_app_id"]


def canonical_app_id(value: object) -> str:
    """An app id as a lower-case UUID string; `ValueError` for anything else and for all zeros."""
    text = str(UUID(str(value)))
    if text == str(UUID(int=0)):
        raise ValueError("an app id of zeros is a placeholder")
    return text


def _address(value: object) -> str:
    url = str(value)
    if not allow_https_or_loopback(url):
        raise ValueError("expected https, or http on a loopback address, without user information")
    return url


AppId = Annotated[str, BeforeValidator(canonical_app_id)]
Address = Annotated[str, BeforeValidator(_address)]


class Model(BaseModel):
    """A frozen table of settings; unknown keys are errors, which name keys but never values."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Cloud(Model):
    """The one table of issuers and endpoints of a cloud; every value can be overridden."""

    login_url: Address = "https://login.microsoftonline.com"
    login_tenant: str = "botframework.com"
    channel_scope: str = "https://api.botframework.com"
    channel_issuer: str = "https://api.botframework.com"
    channel_metadata: Address = "https://login.botframework.com/v1/.well-known/openidconfiguration"
    entra_metadata: Address = (
        "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration"
    )
    issuers: tuple[str, ...] = (
        "https://sts.windows.net/{tid}/",
        "https://login.microsoftonline.com/{tid}/v2.0",
    )
    shared_tenants: tuple[AppId, ...] = (
        "d6d49420-f39b-4df7-a1dc-d59a935871db",
        "f8cdef31-a31e-4b4a-93e4-5f571e91255a",
    )
    caller_id: str = "urn:botframework:azure"

    @field_validator("issuers")
    @classmethod
    def _bound_to_tenants(cls, issuers: tuple[str, ...]) -> tuple[str, ...]:
        # Without the place of a tenant, an issuer would stand for every tenant at once.
        if not issuers or any(issuer.count("{tid}") != 1 for issuer in issuers):
            raise ValueError("each issuer is a template with {tid} once, the tenant's place")
        return issuers


CLOUDS: Mapping[str, Cloud] = MappingProxyType(
    {
        "public": Cloud(),
        "usgov": Cloud(
            login_url="https://login.microsoftonline.us",
            login_tenant="MicrosoftServices.onmicrosoft.us",
            channel_scope="https://api.botframework.us",
            channel_issuer="https://api.botframework.us",
            channel_metadata=(
                "https://login.botframework.azure.us/v1/.well-known/openidconfiguration"
            ),
            entra_metadata=(
                "https://login.microsoftonline.us/cab8a31a-1906-4287-a0d8-4eef66b95f6e"
                "/v2.0/.well-known/openid-configuration"
            ),
            issuers=(
                "https://sts.windows.net/{tid}/",
                "https://login.microsoftonline.us/{tid}/",
                "https://login.microsoftonline.us/{tid}/v2.0",
            ),
            shared_tenants=(
                "cab8a31a-1906-4287-a0d8-4eef66b95f6e",
                "f8cdef31-a31e-4b4a-93e4-5f571e91255a",
            ),
            caller_id="urn:botframework:azureusgov",
        ),
        "china": Cloud(
            login_url="https://login.partner.microsoftonline.cn",
            login_tenant="0b4a31a2-c1a0-475d-b363-5f26668660a3",
            channel_scope="https://api.botframework.azure.cn",
            channel_issuer="https://api.botframework.azure.cn",
            channel_metadata=(
                "https://login.botframework.azure.cn/v1/.well-known/openidconfiguration"
            ),
            entra_metadata=(
                "https://login.partner.microsoftonline.cn/a55a4d5b-9241-49b1-b4ff-befa8db00269"
                "/v2.0/.well-known/openid-configuration"
            ),
            issuers=(
                "https://sts.chinacloudapi.cn/{tid}/",
                "https://login.partner.microsoftonline.cn/{tid}/v2.0",
            ),
            shared_tenants=(
                "0b4a31a2-c1a0-475d-b363-5f26668660a3",
                "a55a4d5b-9241-49b1-b4ff-befa8db00269",
            ),
        ),
    }
)
