"""What both peers on the Agents SDK for Python share: settings, authentication, a server.

The SDK's packages are used as published. The lines marked DEFECT work round faults of theirs.
The hosts of tokens and keys are fixed in the SDK: run it under tests/peers/with_hosts.
"""

import os
import socket
import sys
from pathlib import Path

from aiohttp import web
from microsoft_agents.authentication.msal import MsalConnectionManager
from microsoft_agents.hosting.aiohttp import CloudAdapter, jwt_authorization_middleware
from microsoft_agents.hosting.core import AgentAuthConfiguration, AuthTypes

# The hooks beside the peers' folders are shared.
sys.path.append(str(Path(__file__).resolve().parent.parent))
from hooks import Hooks, status_of, told

__all__ = ["APP_ID", "Peer", "status_of", "told"]

APP_ID = os.environ["APP_ID"]
BOT_FRAMEWORK_TENANT = "d6d49420-f39b-4df7-a1dc-d59a935871db"


class Peer:
    """An adapter, and an application under /api that admits tokens of the channel and of `allowed`.

    Turns that fail are answered with 500, as the other peers do, instead of an apology and 202.
    """

    def __init__(self, allowed):
        self._allowed = allowed
        self.connections = MsalConnectionManager(
            connections_configurations={
                "SERVICE_CONNECTION": AgentAuthConfiguration(
                    auth_type=AuthTypes.client_secret,
                    client_id=APP_ID,
                    tenant_id=BOT_FRAMEWORK_TENANT,
                    client_secret=os.environ["APP_PASSWORD"],
                    connection_name="SERVICE_CONNECTION",
                    validate_issuer=True,
                )
            }
        )
        self.adapter = CloudAdapter(connection_manager=self.connections)
        self.adapter.on_turn_error = None
        self.app = web.Application(middlewares=[jwt_authorization_middleware, self._allowlist()])
        configuration = self.connections.get_default_connection_configuration()
        self.app["agent_configuration"] = configuration
        self._socket = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
        self.port = self._socket.getsockname()[1]

    def serve(self, bot, *, tell=None):
        """Serve `bot` and the hooks until a signal; prints `ready PORT` when it takes requests."""
        self.app.router.add_post("/messages", lambda request: self.adapter.process(request, bot))
        app = web.Application()
        Hooks(tell).add_to(app)
        app.add_subapp("/api", self.app)
        web.run_app(
            app,
            sock=self._socket,
            print=lambda _: print(f"ready {self.port}", flush=True),  # noqa: T201
            shutdown_timeout=1,
        )

    def _allowlist(self):
        @web.middleware
        async def allowlist(request, handler):
            # DEFECT: the SDK has no hook for claims; any app with a token for this one may call.
            identity = request["claims_identity"]
            if identity.is_agent_claim() and identity.get_outgoing_app_id() not in self._allowed:
                return web.json_response({"error": "this app may not call"}, status=403)
            return await handler(request)

        return allowlist
