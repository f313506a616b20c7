"""Configurations of bots on other SDKs, read into ours."""

from __future__ import annotations

__all__: list[str] = []
