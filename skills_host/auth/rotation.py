"""The credentials that a host's bots have at the moment, and their replacement while it runs.

A new credential is tried before the old one is dropped, and tokens that were fetched with the old
one stay good for as long as they last: nobody who sends anything notices.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping

from skills_host.auth.azure import PlatformIdentity
from skills_host.auth.certificates import expiry_step
from skills_host.auth.credentials import AnyCredential, ClientCertificate
from skills_host.auth.tokens import TokenSource
from skills_host.errors import SettingsError, TokenUnavailable
from skills_host.settings import BotSettings, Settings
from skills_host.telemetry import EXPIRES_IN, Telemetry

__all__ = ["Build", "Rotation", "closed"]

log = logging.getLogger(__name__)

DAY = 24 * 3600.0

Build = Callable[[str, BotSettings], AnyCredential]
"""Makes what a bot with these settings proves itself with; raises `SettingsError`."""


class Rotation:
    """The credentials of a host's bots, with the token source of each; belongs to one event loop.

    `reload` reads the settings again (on another thread; it raises `SettingsError`): of them only
    the credentials of known bots are taken. Without it nothing is replaced.
    """

    def __init__(
        self,
        settings: Settings,
        credentials: Mapping[str, AnyCredential],
        *,
        sources: Mapping[str, TokenSource],
        build: Build,
        reload: Callable[[], Settings] | None,
        now: Callable[[], float],
        telemetry: Telemetry,
    ) -> None:
        self._telemetry = telemetry
        self._scope = settings.cloud.channel_scope
        self._bots = dict(settings.bots)
        self._credentials = dict(credentials)
        self._sources = sources
        self._build = build
        self._reload = reload
        self._now = now
        self._steps: dict[str, int] = {}
        self._complaints: dict[str, str] = {}

    async def check(self) -> None:
        """Take what has changed in the settings; whatever cannot be taken is logged."""
        if self._reload is None:
            return
        try:
            settings = await asyncio.to_thread(self._reload)
        except SettingsError as exc:
            # A file that is being written looks like this too; its next reading is soon.
            self._complain("", f"the settings cannot be read again: {exc}")
            return
        for name, bot in self._bots.items():
            given = settings.bots.get(name)
            if given is not None and given.credential != bot.credential:
                await self._replace(name, bot.model_copy(update={"credential": given.credential}))
            else:
                self._complaints.pop(name, None)
        self._complaints.pop("", None)

    def announce(self) -> None:
        """Tell how long certificates are still good for, and warn when it becomes serious."""
        for name, credential in self._credentials.items():
            days = _days_left(credential, self._now())
            if days < math.inf:
                self._telemetry.set(EXPIRES_IN, days * DAY, name)
            step = expiry_step(days)
            if step is not None and step != self._steps.get(name):
                self._steps[name] = step
                log.warning("bots.%s: its certificate expires in %.1f days", name, days)

    async def close(self) -> None:
        """Let go of the platform's credentials."""
        for credential in self._credentials.values():
            await closed(credential)

    async def _replace(self, name: str, bot: BotSettings) -> None:
        try:
            credential = self._build(name, bot)
        except SettingsError as exc:
            self._complain(name, str(exc))
            return
        try:
            await self._sources[name].replace(credential, scope=self._scope)
        except TokenUnavailable as exc:
            await closed(credential)
            self._complain(name, f"the authority does not take it: {exc.reason or exc.code}")
            return
        before, self._credentials[name] = self._credentials[name], credential
        self._bots[name] = bot
        self._steps.pop(name, None)
        self._complaints.pop(name, None)
        await closed(before)
        log.info("bots.%s: a new credential is in use", name)
        self.announce()

    def _complain(self, name: str, text: str) -> None:
        """Say once what keeps being wrong."""
        if self._complaints.get(name) != text:
            self._complaints[name] = text
            what = f"bots.{name}: the new credential is not used yet: " if name else ""
            log.warning("%s%s", what, text)


async def closed(credential: AnyCredential) -> None:
    """Let go of a credential of the platform; others hold nothing."""
    # What a bot's own code brought is its own to close.
    if isinstance(credential, PlatformIdentity):
        await credential.close()


def _days_left(credential: AnyCredential, now: float) -> float:
    if isinstance(credential, ClientCertificate) and credential.certificate is not None:
        return credential.certificate.days_left(now)
    return math.inf
