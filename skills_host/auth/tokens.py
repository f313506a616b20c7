"""Tokens for our own calls: fetched once for all who need them, early, and kept per scope."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode

from skills_host.auth.credentials import AnyCredential, ClientCredential, TokenCredential
from skills_host.errors import TokenUnavailable, TransportFailed
from skills_host.settings import Cloud
from skills_host.transport import Request, Response, Send

__all__ = ["TokenSource"]

ANSWER_BYTES = 1024 * 1024
EARLY = 300.0
EARLY_SHARE = 0.2
LATEST = 1e12
NUMBERS = 10**9
PAUSE = 15.0
REASON = re.compile(r"[a-z][a-z0-9_]{0,63}")
SUFFIX = "/.default"
TOKEN = re.compile(r"[\x21-\x7e]+")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Held:
    """A token with the instants, in seconds since the epoch, at which it expires and is renewed."""

    token: str = field(repr=False)
    expires: float
    renew: float


class TokenSource:
    """One bot's tokens by scope; belongs to one event loop; `close` it.

    A token is renewed five minutes before it expires (a short one after 80 % of its life) by one
    task while the old one is still given out. A failure reaches everyone who waits for it and
    nobody after them.
    """

    def __init__(
        self,
        send: Send,
        *,
        cloud: Cloud,
        credential: AnyCredential,
        now: Callable[[], float],
        timeout: float = 5.0,
    ) -> None:
        self._send = send
        self._cloud = cloud
        self._credential = credential
        self._now = now
        self._timeout = timeout
        self._held: dict[str, _Held] = {}
        self._tasks: dict[str, asyncio.Task[_Held]] = {}

    async def token(self, scope: str) -> str:
        """A token for `scope`: a peer's bare app id, or a resource such as the channels'.

        Raises `TokenUnavailable` with the authority's error code as reason.
        """
        scope = _whole(scope)
        held = self._held.get(scope)
        now = self._now()
        if held is None or now >= held.expires:
            return (await self._fetched(scope)).token
        if now >= held.renew:
            self._fetching(scope)
        return held.token

    def forget(self, scope: str, *, token: str | None = None) -> None:
        """Drop the token for `scope` after a peer answered 401, if it is still `token` (if given).

        Naming the refused token keeps a later refusal of the same one from dropping its successor.
        """
        scope = _whole(scope)
        held = self._held.get(scope)
        if held is not None and token in (None, held.token):
            del self._held[scope]

    async def replace(self, credential: AnyCredential, *, scope: str) -> None:
        """Fetch tokens with another credential from now on, if it gets one for `scope`.

        Otherwise raises `TokenUnavailable`, and the one before stays. Tokens that are held stay.
        """
        scope = _whole(scope)
        held = await self._fetch_with(credential, scope)
        self._credential = credential
        self._held[scope] = held

    async def close(self) -> None:
        """Stop fetching; whoever still waits is told that there is no token."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _fetching(self, scope: str) -> asyncio.Task[_Held]:
        task = self._tasks.get(scope)
        if task is None:
            task = self._tasks[scope] = asyncio.create_task(self._fetch(scope))
            task.add_done_callback(lambda done: self._settle(scope, done))
        return task

    async def _fetched(self, scope: str) -> _Held:
        task = self._fetching(scope)
        # Unlike awaiting the task, this leaves it running when one who waits is cancelled.
        await asyncio.wait({task})
        if task.cancelled():
            raise TokenUnavailable
        try:
            return task.result()
        except TokenUnavailable as exc:
            raise TokenUnavailable(reason=exc.reason) from exc

    def _settle(self, scope: str, task: asyncio.Task[_Held]) -> None:
        del self._tasks[scope]
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._held[scope] = task.result()
            return
        reason = error.reason if isinstance(error, TokenUnavailable) else repr(error)
        logger.warning("no token for %s: %s", scope, reason or "no usable answer")
        held = self._held.get(scope)
        if held is not None:
            self._held[scope] = replace(held, renew=self._now() + PAUSE)

    async def _fetch(self, scope: str) -> _Held:
        credential = self._credential
        try:
            return await self._fetch_with(credential, scope)
        except TokenUnavailable:
            if self._credential is credential:
                raise
        # It was replaced meanwhile, and perhaps taken from the authority's list.
        return await self._fetch_with(self._credential, scope)

    async def _fetch_with(self, credential: AnyCredential, scope: str) -> _Held:
        asked = self._now()
        try:
            async with asyncio.timeout(self._timeout):
                if isinstance(credential, TokenCredential):
                    return await _issued(credential, scope, asked)
                return _read(await self._send(self._request(credential, scope, asked)), asked)
        except (TransportFailed, TimeoutError) as exc:
            raise TokenUnavailable from exc

    def _request(self, credential: ClientCredential, scope: str, now: float) -> Request:
        tenant = quote(credential.tenant or self._cloud.login_tenant, safe="")
        url = f"{self._cloud.login_url.rstrip('/')}/{tenant}/oauth2/v2.0/token"
        return Request(
            "POST",
            url,
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
            },
            body=urlencode(credential.form(scope, token_url=url, now=now)).encode(),
            timeout=self._timeout,
        )


async def _issued(credential: TokenCredential, scope: str, asked: float) -> _Held:
    """A token of a credential that gets them by itself."""
    try:
        issued = await credential.get_token(scope)
        token, life = issued.token, float(issued.expires_on) - asked
    except TokenUnavailable:
        raise
    except Exception as exc:
        # It may be anybody's code, and its words may hold anything: only its kind is told.
        raise TokenUnavailable(reason=type(exc).__name__) from None
    return _held(token, life, asked)


def _whole(scope: str) -> str:
    return scope if scope.endswith(SUFFIX) else scope + SUFFIX


def _read(answer: Response, asked: float) -> _Held:
    document = _document(answer.body)
    if not answer.ok:
        raise TokenUnavailable(reason=_reason(document))
    kind = document.get("token_type", "Bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise TokenUnavailable
    return _held(document.get("access_token"), _seconds(document.get("expires_in")), asked)


def _held(token: object, life: float, asked: float) -> _Held:
    if not isinstance(token, str) or not TOKEN.fullmatch(token) or not 0 < life < LATEST:
        raise TokenUnavailable
    return _Held(token, asked + life, asked + life - min(EARLY, life * EARLY_SHARE))


def _document(body: bytes) -> dict[str, Any]:
    if len(body) > ANSWER_BYTES:
        return {}
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _reason(document: dict[str, Any]) -> str | None:
    """The OAuth error, with the number that says what an operator has to mend."""
    error, numbers = document.get("error"), document.get("error_codes")
    if not isinstance(error, str) or not REASON.fullmatch(error):
        return None
    number = numbers[0] if isinstance(numbers, list) and numbers else None
    if isinstance(number, bool) or not isinstance(number, int) or not 0 < number < NUMBERS:
        return error
    return f"{error} (AADSTS{number})"


def _seconds(value: object) -> float:
    """`expires_in` as it comes: a number, or a number written as a string."""
    try:
        seconds = float(value) if isinstance(value, int | float | str) else 0.0
    except (ValueError, OverflowError):
        return 0.0
    return seconds if 0 < seconds < LATEST else 0.0
