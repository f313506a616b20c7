"""skills_host: skill consumer and skill orchestration for Bot Framework-protocol bots.

The everyday names, each resolved on first use, so that importing the package costs little.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skills_host.activity import Activity as Activity
    from skills_host.app import create_app as create_app
    from skills_host.bot.dialog import Dialog as Dialog
    from skills_host.bot.dialog import Retry as Retry
    from skills_host.bot.dialog import Step as Step
    from skills_host.bot.handlers import Bot as Bot
    from skills_host.bot.turn import Turn as Turn
    from skills_host.configuration import load_settings as load_settings
    from skills_host.consumer.orchestrator import Root as Root
    from skills_host.consumer.orchestrator import RootTexts as RootTexts
    from skills_host.errors import SkillsHostError as SkillsHostError
    from skills_host.settings import Settings as Settings

__all__ = [
    "Activity",
    "Bot",
    "Dialog",
    "Retry",
    "Root",
    "RootTexts",
    "Settings",
    "SkillsHostError",
    "Step",
    "Turn",
    "create_app",
    "load_settings",
]

_HOMES = {
    "Activity": "skills_host.activity",
    "Bot": "skills_host.bot.handlers",
    "Dialog": "skills_host.bot.dialog",
    "Retry": "skills_host.bot.dialog",
    "Root": "skills_host.consumer.orchestrator",
    "RootTexts": "skills_host.consumer.orchestrator",
    "Settings": "skills_host.settings",
    "SkillsHostError": "skills_host.errors",
    "Step": "skills_host.bot.dialog",
    "Turn": "skills_host.bot.turn",
    "create_app": "skills_host.app",
    "load_settings": "skills_host.configuration",
}


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(home), name)
