"""Where a platform gives its managed identities tokens: App Service's endpoint, and the machine's
own (IMDS), as the clients of either ask them."""

from __future__ import annotations

import hmac
from typing import Any

from quart import Blueprint, Response, jsonify, request

from skills_host.lab.authority import Authority
from skills_host.lab.refusals import GrantRefused

__all__ = ["managed_identities"]

SUFFIX = "/.default"


def managed_identities(authority: Authority, *, secret: str) -> Blueprint:
    """Both endpoints; App Service's wants `secret` in its header, IMDS only to be meant."""
    doors = Blueprint("managed", __name__)

    @doors.get("/msi/token")
    async def app_service() -> Response:
        given = request.headers.get("X-IDENTITY-HEADER", "")
        if not hmac.compare_digest(given.encode(), secret.encode()):
            return _refused(401, "unauthorized_client", "The identity header is wrong.")
        # This endpoint hides what its authority refuses: a caller learns nothing but that it did.
        return _answered(authority, hidden=True)

    @doors.get("/metadata/identity/oauth2/token")
    async def machine() -> Response:
        if request.headers.get("Metadata", "").lower() != "true":
            return _refused(400, "bad_request_102", "Required metadata header not specified")
        return _answered(authority, hidden=False)

    return doors


def _answered(authority: Authority, *, hidden: bool) -> Response:
    resource = request.args.get("resource", "").removesuffix(SUFFIX)
    if not resource:
        return _refused(400, "invalid_request", "The resource is missing.")
    client_id = request.args.get("client_id", "").lower()
    try:
        token, identity, expires = authority.managed_token(client_id, resource)
    except LookupError:
        return _refused(400, "invalid_request", "Identity not found")
    except GrantRefused as refused:
        if hidden:
            return _refused(500, "", "An unexpected error occurred while fetching the token.")
        return _refused(refused.status, refused.fault.error, str(refused))
    return _unstored(
        jsonify(
            access_token=token,
            client_id=identity,
            expires_in="3600",
            expires_on=str(expires),
            resource=resource,
            token_type="Bearer",  # noqa: S106 - a kind, not a secret
        )
    )


def _refused(status: int, error: str, text: str) -> Response:
    body: dict[str, Any] = {"statusCode": status, "message": text}
    if error:
        body |= {"error": error, "error_description": text}
    response = _unstored(jsonify(body))
    response.status_code = status
    return response


def _unstored(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response
