"""What both Python peers share: settings from the environment, authentication, a server.

The SDK's packages are used as published. The lines marked DEFECT work round faults of theirs.
"""

import os
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

from aiohttp import web
from botbuilder.integration.aiohttp import (
    CloudAdapter,
    ConfigurationBotFrameworkAuthentication,
    ConfigurationServiceClientCredentialFactory,
)
from botbuilder.integration.aiohttp.skills import AioHttpClientFactory
from botframework.connector.auth import (
    AuthenticationConfiguration,
    JwtTokenValidation,
    SkillValidation,
)
from msrest.serialization import Model

# The hooks beside the peers' folders are shared.
sys.path.append(str(Path(__file__).resolve().parent.parent))
from hooks import Hooks, status_of, told

__all__ = [
    "APP_ID",
    "CHANNEL",
    "Adapter",
    "authentication",
    "listener",
    "serve",
    "status_of",
    "told",
]

APP_ID = os.environ["APP_ID"]
CHANNEL = "https://api.botframework.com"


def listener():
    """A listening socket on loopback at PORT (0: any) and the port that it got."""
    sock = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
    return sock, sock.getsockname()[1]


def serve(app, sock, *, tell=None):
    """Serve `app` and the hooks until a signal; prints `ready PORT` when requests are taken."""
    Hooks(tell).add_to(app)
    ready = f"ready {sock.getsockname()[1]}"
    web.run_app(
        app,
        sock=sock,
        print=lambda _: print(ready, flush=True),  # noqa: T201
        shutdown_timeout=1,
    )


def allow_only(app_ids):
    """A claims validator that admits skill claims of `app_ids` and of nobody else."""

    async def validate(claims):
        # DEFECT: documented as a dict, called with a list that holds the dict.
        claims = claims[0]
        if not SkillValidation.is_skill_claim(claims):
            return
        if JwtTokenValidation.get_app_id_from_claims(claims) not in app_ids:
            raise PermissionError("this app may not call")

    return validate


class Credentials(ConfigurationServiceClientCredentialFactory):
    """DEFECT: the SDK discovers the authority and asks for a token anew for every call it makes."""

    def __init__(self, configuration):
        super().__init__(configuration)
        self._kept = {}

    async def create_credentials(self, app_id, oauth_scope, login_endpoint, validate_authority):
        """The credentials of a scope, made once: their MSAL application caches its tokens."""
        if oauth_scope not in self._kept:
            self._kept[oauth_scope] = await super().create_credentials(
                app_id, oauth_scope, login_endpoint, validate_authority
            )
        return self._kept[oauth_scope]


class Json(Model):
    """A JSON object in the one shape that the SDK's serializer leaves alone."""

    _attribute_map = {"additional_properties": {"key": "", "type": "{object}"}}


class Adapter(CloudAdapter):
    """The SDK's adapter, able to answer expectReplies and, with an object, invokes."""

    def _process_turn_results(self, context):
        response = super()._process_turn_results(context)
        if response and isinstance(response.body, dict):
            # DEFECT: what is JSON already is serialized again by `process`, which fails: 500.
            response.body = Json(additional_properties=response.body)
        return response


def authentication(allowed):
    """The SDK's authentication, pointed at the lab by settings alone and never off."""
    lab, lab_http = os.environ["LAB"], os.environ["LAB_HTTP"]
    settings = SimpleNamespace(
        APP_TYPE="MultiTenant",
        APP_ID=APP_ID,
        APP_PASSWORD=os.environ["APP_PASSWORD"],
        # An authority called adfs is not looked up at Microsoft's instance discovery.
        TO_CHANNEL_FROM_BOT_LOGIN_URL=f"{lab}/adfs",
        TO_CHANNEL_FROM_BOT_OAUTH_SCOPE=CHANNEL,
        TO_BOT_FROM_CHANNEL_TOKEN_ISSUER=CHANNEL,
        TO_BOT_FROM_CHANNEL_OPENID_METADATA_URL=f"{lab_http}/v1/.well-known/openidconfiguration",
        TO_BOT_FROM_EMULATOR_OPENID_METADATA_URL=(
            f"{lab_http}/common/v2.0/.well-known/openid-configuration"
        ),
        CALLER_ID="urn:botframework:azure",
    )
    return ConfigurationBotFrameworkAuthentication(
        settings,
        credentials_factory=Credentials(settings),
        auth_configuration=AuthenticationConfiguration(claims_validator=allow_only(allowed)),
        http_client_factory=AioHttpClientFactory(),
    )
