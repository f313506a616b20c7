"""The lab's identity endpoint: the addresses of Entra and of the Bot Connector, on loopback.

Documents name the scheme and host that a request came to; issuers are the well-known ones.
"""

from __future__ import annotations

import hmac
import json
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

from quart import Quart, Response, jsonify, request

from skills_host.auth.denials import Denied
from skills_host.errors import BadInput, SettingsError, SkillsHostError, error_body
from skills_host.lab.authority import Authority, TokenVersion
from skills_host.lab.managed import managed_identities
from skills_host.lab.refusals import GrantRefused
from skills_host.lab.tls import LAB_HOSTS
from skills_host.transport import is_loopback
from skills_host.web import server

__all__ = ["address_of", "create_lab", "listening", "serve_lab"]

logger = logging.getLogger(__name__)

# Kind of token → the arguments of the authority's function, the last of them optional.
ARGUMENTS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "app": (
        frozenset(("client_id", "audience")),
        frozenset(("version", "tenant", "lifetime")),
    ),
    "channel": (frozenset(("audience", "service_url")), frozenset(("lifetime",))),
}
DAY = 24 * 3600
RESERVED = frozenset(name for names in ARGUMENTS.values() for group in names for name in group)


def create_lab(authority: Authority, *, mint_secret: str) -> Quart:
    """The endpoint as an ASGI app; `mint_secret` opens what stands under `/lab`, and App Service's
    endpoint of managed identities."""
    app = Quart(__name__)
    app.before_request(_refuse_strangers)
    app.register_error_handler(SkillsHostError, _refusal(authority))
    _serve_entra(app, authority)
    _serve_channel(app, authority)
    _serve_lab_routes(app, authority, mint_secret=mint_secret)
    app.register_blueprint(managed_identities(authority, secret=mint_secret))
    return app


def _serve_entra(app: Quart, authority: Authority) -> None:
    @app.get("/<tenant>/v2.0/.well-known/openid-configuration")
    async def metadata(tenant: str) -> Response:
        return jsonify(authority.entra_metadata(tenant, _base_url()))

    @app.get("/<tenant>/.well-known/openid-configuration")
    async def metadata_v1(tenant: str) -> Response:
        return jsonify(authority.entra_metadata(tenant, _base_url(), version="1.0"))

    @app.get("/<tenant>/discovery/v2.0/keys", endpoint="keys")
    @app.get("/<tenant>/discovery/keys", endpoint="keys_v1")
    async def keys(tenant: str) -> Response:
        return jsonify(authority.entra_keys())

    @app.post("/<tenant>/oauth2/v2.0/token")
    async def token(tenant: str) -> Response:
        return await _issued(authority, tenant, endpoint_version="2.0")

    @app.post("/<tenant>/oauth2/token")
    async def token_v1(tenant: str) -> Response:
        return await _issued(authority, tenant, endpoint_version="1.0")

    @app.get("/common/discovery/instance")
    async def instance() -> Response:
        return jsonify(_instance(request.args.get("authorization_endpoint", "")))


def _serve_channel(app: Quart, authority: Authority) -> None:
    @app.get("/v1/.well-known/openidconfiguration")
    async def channel_metadata() -> Response:
        return jsonify(authority.channel_metadata(_base_url()))

    @app.get("/v1/.well-known/keys")
    async def channel_keys() -> Response:
        return jsonify(authority.channel_keys())


def _serve_lab_routes(app: Quart, authority: Authority, *, mint_secret: str) -> None:
    @app.get("/lab/health")
    async def health() -> Response:
        return jsonify({"ok": True, "skills_host_lab": True})

    @app.post("/lab/tokens")
    async def tokens() -> Response:
        _check_mint_secret(request.headers.get("Authorization", ""), mint_secret)
        return _unstored(
            {
                "token": _minted(
                    authority,
                    await request.get_data(cache=True, as_text=False, parse_form_data=False),
                )
            }
        )

    @app.post("/lab/rotate")
    async def rotate() -> Response:
        _check_mint_secret(request.headers.get("Authorization", ""), mint_secret)
        authority.rotate()
        return jsonify({"ok": True})

    @app.post("/lab/skew")
    async def skew() -> Response:
        _check_mint_secret(request.headers.get("Authorization", ""), mint_secret)
        authority.skew = _seconds(
            await request.get_data(cache=True, as_text=False, parse_form_data=False)
        )
        return jsonify({"ok": True})


async def _issued(authority: Authority, tenant: str, *, endpoint_version: TokenVersion) -> Response:
    form = (await request.form).to_dict()
    return _unstored(
        authority.issue(tenant, form, endpoint_version=endpoint_version, base_url=_base_url())
    )


def _minted(authority: Authority, body: bytes) -> str:
    wanted = _object(body)
    kind, claims = wanted.pop("kind", None), wanted.pop("claims", {})
    if kind not in ARGUMENTS:
        raise BadInput("kind: expected app or channel")
    if not isinstance(claims, dict) or RESERVED & claims.keys():
        raise BadInput("claims: expected an object of claims by name")
    _check_arguments(wanted, *ARGUMENTS[kind])
    make = authority.app_token if kind == "app" else authority.channel_token
    return make(**wanted, **claims)


def _check_arguments(
    given: Mapping[str, Any], required: frozenset[str], optional: frozenset[str]
) -> None:
    if not required <= given.keys() <= required | optional:
        raise BadInput(f"expected {sorted(required)} and perhaps {sorted(optional)}")
    for name, value in given.items():
        if not isinstance(value, int if name == "lifetime" else str):
            raise BadInput(f"{name}: wrong type")
    if given.get("version", "2.0") not in ("1.0", "2.0"):
        raise BadInput("version: expected 1.0 or 2.0")


def _seconds(body: bytes) -> float:
    seconds = _object(body).get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or abs(seconds) > DAY:
        raise BadInput("seconds: expected a number, at most a day")
    return float(seconds)


def _object(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        raise BadInput from None
    if not isinstance(parsed, dict):
        raise BadInput("expected a JSON object")
    return parsed


def _instance(authorization_endpoint: str) -> dict[str, Any]:
    tenant = urlsplit(authorization_endpoint).path.strip("/").partition("/")[0] or "common"
    host = request.host
    return {
        "tenant_discovery_endpoint": (
            f"{_base_url()}/{tenant}/v2.0/.well-known/openid-configuration"
        ),
        "api-version": "1.1",
        "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
        "skills_host_lab": True,
    }


def _base_url() -> str:
    return f"{request.scheme}://{request.host}"


def _unstored(document: Mapping[str, Any]) -> Response:
    response = jsonify(document)
    response.headers["Cache-Control"] = "no-store"
    return response


async def _refuse_strangers() -> None:
    peer = (request.scope.get("client") or ("localhost",))[0]
    # A foreign Host on a loopback connection is a tunnel, or a web page that rebinds its name.
    host = _host_name()
    if not is_loopback(peer) or not (is_loopback(host) or host in LAB_HOSTS):
        raise Denied("forwarded-in-lab")


def _host_name() -> str:
    try:
        return urlsplit(_base_url()).hostname or ""
    except ValueError:
        return ""


def _check_mint_secret(header: str, mint_secret: str) -> None:
    if not hmac.compare_digest(header.encode(), f"Bearer {mint_secret}".encode()):
        raise GrantRefused("secret")


def _refusal(authority: Authority) -> Callable[[SkillsHostError], Awaitable[Response]]:
    async def answer(error: SkillsHostError) -> Response:
        if isinstance(error, GrantRefused):
            response = _unstored(authority.refusal(error))
        else:
            response = _unstored(error_body(error))
        response.status_code = error.status
        return response

    return answer


# Serving


def listening(address: str) -> socket.socket:
    """A socket that listens on the loopback address `HOST:PORT`; port 0 takes a free one.

    `SettingsError` if the address is not loopback, `OSError` if it is taken. Whoever serves the
    socket closes it.
    """
    host, _, port = address.rpartition(":")
    if not is_loopback(host.strip("[]")) or not port.isdigit():
        raise SettingsError("the lab listens on loopback only: HOST:PORT", code="lab-in-public")
    return server.listening(address)


def address_of(listener: socket.socket) -> str:
    """`HOST:PORT` of a listening socket, as it is written in a URL."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def serve_lab(
    app: Quart,
    *,
    http: str | socket.socket,
    https: str | socket.socket | None = None,
    tls: ssl.SSLContext | None = None,
    shutdown: Callable[[], Awaitable[Any]],
) -> None:
    """Serve `app` (the lab or the console channel) until `shutdown()` returns.

    Addresses are `HOST:PORT` or sockets from `listening`, which say the port that was chosen;
    they are closed at the end. `https` needs the server context `tls`.
    """
    if https is not None and tls is None:
        raise SettingsError("https needs a TLS context")
    with ExitStack() as opened:
        plain = [opened.enter_context(_socket(http))]
        secure = [opened.enter_context(_socket(https))] if https is not None else []
        config = server.Listeners(plain, secure, tls)
        config.errorlog = logger
        await server.serve_asgi(app, config, shutdown=shutdown)


def _socket(given: str | socket.socket) -> socket.socket:
    return listening(given) if isinstance(given, str) else given
