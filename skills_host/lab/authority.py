"""The lab's authority: it issues what Entra and the Bot Connector would issue, with its own keys.

No HTTP in here; `skills_host.lab.service` serves it. Every document that says where keys are, or
holds them, is marked `"skills_host_lab": true`, so that no host takes it for the real authority.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from skills_host.lab.apps import BOTFRAMEWORK_TENANT, LabApp, TokenVersion
from skills_host.lab.assertions import ASSERTION_TYPE, Assertions, claimed_app_id
from skills_host.lab.federation import EXCHANGES, check_exchanged, is_own
from skills_host.lab.keyring import KeyRing
from skills_host.lab.refusals import GrantRefused
from skills_host.settings import canonical_app_id

__all__ = [
    "BOTFRAMEWORK_TENANT",
    "CHANNEL_ISSUER",
    "CHANNEL_SCOPES",
    "ENDORSED_CHANNELS",
    "Authority",
    "LabApp",
    "TokenVersion",
    "tenant_id",
]

Proof = Literal["1", "2"]
"""How a client proved itself, as tokens say it: by its secret, or by its certificate."""

SECRET: Proof = "1"  # noqa: S105 - how, not with what
CERTIFICATE: Proof = "2"
CHANNEL_ISSUER = "https://api.botframework.com"
CHANNEL_SCOPES = ("https://api.botframework.com", "https://api.botframework.us")
ENDORSED_CHANNELS = (
    "console",
    "directline",
    "webchat",
    "msteams",
    "slack",
    "emulator",
    "email",
    "telegram",
    "test",
)
TENANT_ALIASES = ("botframework.com", "common", "adfs", "organizations")
ANY_TENANT = ("common", "organizations")
MARK: Mapping[str, Any] = {"skills_host_lab": True}
DEFAULT_SCOPE = "/.default"


def tenant_id(tenant: str) -> str:
    """The GUID of a tenant or of a well-known alias; `GrantRefused` for anything else."""
    if tenant.lower() in TENANT_ALIASES:
        return BOTFRAMEWORK_TENANT
    try:
        return str(UUID(tenant))
    except ValueError:
        raise GrantRefused("tenant") from None


class Authority:
    """Issues tokens for registered apps and for channels; owns their signing keys.

    `base_url` is where its documents say it is, unless a request came to another address.
    `now` gives seconds since the epoch, to which `skew` is added: a clock that goes wrong.
    `lifetime`, in seconds, is that of the tokens that are asked for.
    """

    def __init__(
        self,
        *,
        apps: Iterable[LabApp],
        base_url: str,
        now: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        self._apps = {app.app_id: app for app in apps}
        self._base_url = base_url.rstrip("/")
        self._clock = now
        self._new_id = new_id
        self._entra = KeyRing("entra")
        self._workloads = KeyRing("workload")
        self._assertions = Assertions()
        self._former: dict[str, str] = {}
        self.skew = 0.0
        self.lifetime = 3600
        self._channel = KeyRing("channel", members={"endorsements": list(ENDORSED_CHANNELS)})

    def _now(self) -> float:
        return self._clock() + self.skew

    def rotate(self) -> None:
        """Sign with the keys that were published for it; the last two generations stay there."""
        self._entra.rotate()
        self._channel.rotate()

    def change_secret(self, app_id: str, secret: str) -> None:
        """Take another secret of an app from now on, and until the next change the one before."""
        app = self._apps[app_id]
        self._former[app_id] = app.secret
        self._apps[app_id] = replace(app, secret=secret)

    # Documents

    def entra_metadata(
        self, tenant: str, base_url: str | None = None, *, version: TokenVersion = "2.0"
    ) -> dict[str, Any]:
        """The OpenID configuration of a tenant; `GrantRefused` if there is no such tenant."""
        tid = tenant_id(tenant)
        prefix = f"{base_url or self._base_url}/{tenant}"
        middle = "/v2.0" if version == "2.0" else ""
        issued_for = "{tenantid}" if tenant.lower() in ANY_TENANT else tid
        return {
            "issuer": _issuer(issued_for, version),
            "authorization_endpoint": f"{prefix}/oauth2{middle}/authorize",
            "token_endpoint": f"{prefix}/oauth2{middle}/token",
            "jwks_uri": f"{prefix}/discovery{middle}/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "response_types_supported": ["code", "id_token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            **MARK,
        }

    def entra_keys(self) -> dict[str, Any]:
        """The key set of all tenants."""
        return {"keys": self._entra.jwks(), **MARK}

    def channel_metadata(self, base_url: str | None = None) -> dict[str, Any]:
        """The OpenID configuration of the Bot Connector."""
        return {
            "issuer": CHANNEL_ISSUER,
            "authorization_endpoint": "https://invalid.botframework.com",
            "jwks_uri": f"{base_url or self._base_url}/v1/.well-known/keys",
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            **MARK,
        }

    def channel_keys(self) -> dict[str, Any]:
        """The Bot Connector's key set; every key is endorsed for the usual channels."""
        return {"keys": self._channel.jwks(), **MARK}

    # Tokens

    def issue(
        self,
        tenant: str,
        form: Mapping[str, str],
        *,
        endpoint_version: TokenVersion,
        base_url: str | None = None,
    ) -> dict[str, Any]:
        """Answer a client credentials request as Entra does; `GrantRefused` if it would not.

        `base_url` is the address that the request came to, as an assertion may name it.
        """
        tid = tenant_id(tenant)
        if form.get("grant_type") != "client_credentials":
            raise GrantRefused("grant")
        audiences = _token_urls(tenant, {base_url or self._base_url, self._base_url})
        client, proof = self._client(form, tenant=tid, audiences=audiences)
        resource = _resource(form, endpoint_version=endpoint_version)
        audience, version = self._audience(resource, tenant=tid)
        token = self.app_token(
            client_id=client.app_id,
            audience=audience,
            version=version,
            tenant=tid,
            lifetime=self.lifetime,
            proof=proof,
        )
        life = self.lifetime - 1
        if endpoint_version == "2.0":
            return {
                "token_type": "Bearer",
                "expires_in": life,
                "ext_expires_in": life,
                "access_token": token,
            }
        now = int(self._now())
        return {
            "token_type": "Bearer",
            "expires_in": str(life),
            "expires_on": str(now + life),
            "not_before": str(now),
            "resource": resource,
            "access_token": token,
        }

    def app_token(
        self,
        *,
        client_id: str,
        audience: str,
        version: TokenVersion = "2.0",
        tenant: str | None = None,
        lifetime: float = 3600,
        proof: Proof = SECRET,
        **claims: Any,
    ) -> str:
        """An app-only token as Entra makes them, without asking whether it should be made.

        `tenant` is the client's own by default, `lifetime` is in seconds and may be negative.
        `claims` replace those of the same name, or remove them if they are None.
        """
        registered = self._apps.get(client_id)
        tid = tenant or (registered.tenant if registered else BOTFRAMEWORK_TENANT)
        principal = _principal(tid, client_id)
        usual = {
            "aud": audience,
            "iss": _issuer(tid, version),
            **self._times(lifetime),
            **_client_claims(client_id, tenant=tid, version=version, proof=proof),
            "idtyp": "app",
            "oid": principal,
            "sub": principal,
            "tid": tid,
            "uti": self._new_id(),
            "ver": version,
        }
        return self._entra.sign(_changed(usual, claims))

    def channel_token(
        self, *, audience: str, service_url: str, lifetime: float = 3600, **claims: Any
    ) -> str:
        """A token as the Bot Connector sends it to the bot `audience`; `claims` as above."""
        usual = {
            "iss": CHANNEL_ISSUER,
            "aud": audience,
            "serviceurl": service_url,
            **self._times(lifetime),
        }
        return self._channel.sign(_changed(usual, claims))

    def managed_token(self, client_id: str, resource: str) -> tuple[str, str, int]:
        """A token for `resource` of a managed identity, or of the system's if there is no id, with
        its client id and the instant at which it expires.

        Raises `LookupError` for an identity that is not there, and `GrantRefused`.
        """
        identities = (app for app in self._apps.values() if app.managed)
        for identity in identities:
            if identity.app_id == client_id or (identity.managed == "system" and not client_id):
                break
        else:
            raise LookupError(client_id)
        audience, version = self._wanted(resource, identity)
        token = self.app_token(
            client_id=identity.app_id, audience=audience, version=version, proof=CERTIFICATE
        )
        return token, identity.app_id, int(self._now()) + 3600

    def workload_token(self, subject: str, **claims: Any) -> str:
        """What a cluster gives to its workload `subject`, to be exchanged; `claims` as above."""
        usual = {
            "iss": self.workload_issuer,
            "sub": subject,
            "aud": EXCHANGES[0],
            **self._times(3600),
        }
        return self._workloads.sign(_changed(usual, claims))

    @property
    def workload_issuer(self) -> str:
        """Who a workload's token says it is from."""
        return f"{self._base_url}/workloads"

    def refusal(self, refused: GrantRefused) -> dict[str, Any]:
        """The error document of a refused request, with this authority's time and a new id."""
        return refused.body(now=self._now(), trace=self._new_id())

    def _client(
        self, form: Mapping[str, str], *, tenant: str, audiences: Collection[str]
    ) -> tuple[LabApp, Proof]:
        secret, assertion = form.get("client_secret", ""), form.get("client_assertion", "")
        client_id = form.get("client_id") or claimed_app_id(assertion)
        if not client_id:
            raise GrantRefused("parameter")
        is_assertion = form.get("client_assertion_type") == ASSERTION_TYPE
        if not secret and not (assertion and is_assertion):
            raise GrantRefused("proof")
        client = self._app(client_id)
        if client is None or not client.is_known_in(tenant):
            raise GrantRefused("client")
        if secret:
            self._check_secret(secret, client)
            return client, SECRET
        if client.trusts and not is_own(assertion, client.app_id):
            self._check_exchanged(assertion, client)
            return client, CERTIFICATE
        self._assertions.check(
            assertion,
            client_id=client.app_id,
            certificates=client.registered,
            audiences=audiences,
            now=self._now(),
        )
        return client, CERTIFICATE

    def _check_secret(self, secret: str, client: LabApp) -> None:
        # An app with a certificate alone has no secret, not an empty one.
        known = filter(None, (client.secret, self._former.get(client.app_id, "")))
        if not any(hmac.compare_digest(secret.encode(), one.encode()) for one in known):
            raise GrantRefused("secret")

    def _check_exchanged(self, assertion: str, client: LabApp) -> None:
        managed = {
            _principal(tid, trusted): _issuer(tid, "2.0")
            for trusted in client.trusts
            if (identity := self._app(trusted)) is not None and (tid := identity.tenant)
        }
        workloads = {subject: self.workload_issuer for subject in client.trusts}
        check_exchanged(
            assertion,
            rings=(self._entra, self._workloads),
            trusted=workloads | managed,
            now=self._now(),
        )

    def _wanted(self, resource: str, identity: LabApp) -> tuple[str, TokenVersion]:
        if resource in EXCHANGES:
            return resource, "2.0"
        return self._audience(resource, tenant=identity.tenant)

    def _audience(self, resource: str, *, tenant: str) -> tuple[str, TokenVersion]:
        if resource in CHANNEL_SCOPES:
            return resource, "1.0"
        target = self._app(resource)
        if target is None or not target.is_known_in(tenant):
            raise GrantRefused("resource")
        if target.managed:
            raise GrantRefused("managed-audience")
        return target.app_id, target.token_version

    def _app(self, app_id: str) -> LabApp | None:
        try:
            return self._apps.get(canonical_app_id(app_id))
        except ValueError:
            return None

    def _times(self, lifetime: float) -> dict[str, int]:
        now = int(self._now())
        # Both are moved for a token that has already expired: its start lies before its end.
        start = min(now, now + int(lifetime))
        return {"iat": start, "nbf": start, "exp": now + int(lifetime)}


def _principal(tenant: str, client_id: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"{tenant}/{client_id}"))


def _issuer(tenant: str, version: TokenVersion) -> str:
    if version == "1.0":
        return f"https://sts.windows.net/{tenant}/"
    return f"https://login.microsoftonline.com/{tenant}/v2.0"


def _token_urls(tenant: str, bases: Iterable[str]) -> frozenset[str]:
    paths = (f"/{tenant}/oauth2/v2.0/token", f"/{tenant}/oauth2/token")
    return frozenset(base + path for base in bases for path in paths)


def _client_claims(
    client_id: str, *, tenant: str, version: TokenVersion, proof: Proof
) -> dict[str, str]:
    if version == "1.0":
        return {"appid": client_id, "appidacr": proof, "idp": _issuer(tenant, "1.0")}
    return {"azp": client_id, "azpacr": proof}


def _resource(form: Mapping[str, str], *, endpoint_version: TokenVersion) -> str:
    resource = form.get("resource", "")
    if endpoint_version == "1.0" and resource:
        return resource
    # AD FS, whose discovery names the older endpoint, is asked with a scope there too.
    scope = form.get("scope", "")
    if not scope:
        raise GrantRefused("parameter")
    wanted = scope.removesuffix(DEFAULT_SCOPE)
    if wanted == scope or not wanted or " " in scope:
        raise GrantRefused("scope")
    return wanted


def _changed(usual: Mapping[str, Any], claims: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**usual, **claims}.items() if value is not None}
