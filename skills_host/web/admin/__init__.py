"""The REST API of the registry."""

from __future__ import annotations

__all__: list[str] = []
