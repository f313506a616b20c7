"""What the host tells of itself in numbers; which of them are collected is the operator's choice.

Without an OpenTelemetry SDK in the process every instrument does nothing.
"""

from __future__ import annotations

from opentelemetry.metrics import get_meter

__all__ = ["tell_expiry"]

_expires_in = get_meter("skills_host").create_gauge(
    "skills_host.certificate.expires_in",
    unit="s",
    description="How long a bot's certificate is still valid; negative once it has expired.",
)


def tell_expiry(bot: str, seconds: float) -> None:
    """Tell how many seconds the certificate of the bot `bot` is still valid."""
    _expires_in.set(seconds, {"bot": bot})
