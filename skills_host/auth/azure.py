"""Identities of the platform, through azure-identity (extra `azure`): what a bot proves itself with
where it has no secret at all."""

from __future__ import annotations

import re
from typing import Any, NoReturn

from skills_host.errors import SettingsError, TokenUnavailable
from skills_host.settings import BotSettings, Cloud, IdentityKind

__all__ = ["PlatformIdentity", "platform_identity"]

EXCHANGE = {
    "https://login.microsoftonline.us": "api://AzureADTokenExchangeUSGov",
    "https://login.partner.microsoftonline.cn": "api://AzureADTokenExchangeChina",
}
PUBLIC_EXCHANGE = "api://AzureADTokenExchange"
NUMBER = re.compile(r"AADSTS([0-9]{4,9})")


class PlatformIdentity:
    """A credential of azure-identity; `close` it. Its errors become `TokenUnavailable`.

    With `behind`, the assertion that `credential` is built to ask for is that identity's token for
    `exchange`.
    """

    def __init__(self, credential: Any, *, behind: Any = None, exchange: str = "") -> None:
        self._credential = credential
        self._behind = behind
        self._exchange = exchange
        self.assertion = ""

    def __repr__(self) -> str:
        return f"PlatformIdentity({type(self._credential).__name__})"

    async def get_token(self, *scopes: str, **options: Any) -> Any:
        """A token for the scopes, with `token` and `expires_on` in seconds since the epoch."""
        from azure.core.exceptions import AzureError

        try:
            if self._behind is not None:
                self.assertion = (await self._behind.get_token(self._exchange)).token
            return await self._credential.get_token(*scopes, **options)
        except AzureError as exc:
            _fail(exc)

    async def close(self) -> None:
        """Let go of connections."""
        for credential in filter(None, (self._credential, self._behind)):
            await credential.close()


def platform_identity(name: str, bot: BotSettings, cloud: Cloud) -> PlatformIdentity:
    """The identity that the settings of the bot `name` ask for; nothing is asked of it yet.

    Raises `SettingsError` naming the setting where the extra is missing or azure-identity refuses.
    """
    where = f"bots.{name}.credential.identity"
    try:
        # A host without such a bot need not carry it: ten megabytes, and as long to start again.
        from azure.identity import aio as identities
    except ImportError:
        raise SettingsError(f"{where}: needs the extra azure: skills-host[azure]") from None
    try:
        return _identity(bot, cloud, identities)
    except ValueError as exc:
        raise SettingsError(f"{where}: {exc}") from None


def _identity(bot: BotSettings, cloud: Cloud, identities: Any) -> PlatformIdentity:
    given, tenant = bot.credential, bot.tenant or cloud.login_tenant
    match given.identity:
        case IdentityKind.SYSTEM_ASSIGNED:
            return PlatformIdentity(identities.ManagedIdentityCredential())
        case IdentityKind.USER_ASSIGNED:
            return PlatformIdentity(identities.ManagedIdentityCredential(client_id=bot.app_id))
        case IdentityKind.WORKLOAD:
            return PlatformIdentity(
                identities.WorkloadIdentityCredential(
                    tenant_id=tenant,
                    client_id=bot.app_id,
                    token_file_path=given.token_file,
                    **_authority(cloud),
                )
            )
        case _:
            return _federated(bot, cloud, tenant, identities)


def _federated(bot: BotSettings, cloud: Cloud, tenant: str, identities: Any) -> PlatformIdentity:
    # The library asks for the assertion without awaiting: it has been fetched just before.
    made: list[PlatformIdentity] = []
    credential = identities.ClientAssertionCredential(
        tenant, bot.app_id, lambda: made[0].assertion, **_authority(cloud)
    )
    behind = identities.ManagedIdentityCredential(client_id=bot.credential.client_id)
    exchange = EXCHANGE.get(cloud.login_url.rstrip("/"), PUBLIC_EXCHANGE)
    made.append(PlatformIdentity(credential, behind=behind, exchange=f"{exchange}/.default"))
    return made[0]


def _authority(cloud: Cloud) -> dict[str, Any]:
    # The settings name the authority; asking another one whether it exists adds nothing.
    return {"authority": cloud.login_url, "disable_instance_discovery": True}


def _fail(error: Exception) -> NoReturn:
    """What an operator needs is the error's kind and number; its text may name more."""
    number = NUMBER.search(str(error))
    reason = type(error).__name__ + (f" (AADSTS{number[1]})" if number else "")
    raise TokenUnavailable(reason=reason) from None
