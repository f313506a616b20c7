"""Settings files as the SDKs' bots have them, written for these tests."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["FILES", "ROOT", "SECRET", "SKILL", "THIRD", "manifest"]

ROOT = "a0000000-0000-4000-8000-000000000001"
SKILL = "b0000000-0000-4000-8000-000000000001"
THIRD = "c0000000-0000-4000-8000-000000000001"
TENANT = "d0000000-0000-4000-8000-000000000001"
SECRET = "hush~hush-hush"
CALLBACK = "https://root.example.com/api/skills/"
ENDPOINT = "https://echo.example.com/api/messages"

DOTNET = f"""{{
  // Comments and trailing commas are let pass by .NET.
  "MicrosoftAppType": "SingleTenant",
  "MicrosoftAppId": "{ROOT}",
  "MicrosoftAppPassword": "{SECRET}",
  "MicrosoftAppTenantId": "{TENANT}",
  "ChannelService": "https://botframework.azure.us",
  "SkillHostEndpoint": "{CALLBACK}",
  "BotFrameworkSkills": [
    {{ "Id": "EchoSkillBot", "AppId": "{SKILL}", "SkillEndpoint": "{ENDPOINT}" }},
  ],
  "Luis": {{ "Key": "{SECRET}" }},
}}"""

COLONS = json.dumps(
    {
        "MicrosoftAppId": ROOT,
        "MicrosoftAppPassword": SECRET,
        "SkillHostEndpoint": CALLBACK,
        "BotFrameworkSkills:0:Id": "EchoSkillBot",
        "BotFrameworkSkills:0:AppId": SKILL,
        "BotFrameworkSkills:0:SkillEndpoint": ENDPOINT,
        "AllowedCallers:0": "*",
    }
)

ASSISTANT = json.dumps(
    {
        "microsoftAppId": ROOT,
        "microsoftAppPassword": SECRET,
        "skillHostEndpoint": CALLBACK,
        "botFrameworkSkills": {
            "id": "EchoSkillBot",
            "name": "Echo",
            "description": "Says it again.",
            "appId": SKILL,
            "skillEndpoint": ENDPOINT,
        },
    }
)

PYTHON = f'''
import os
from typing import Dict
from botbuilder.core.skills import BotFrameworkSkill

raise SystemExit("this file is never run")

class DefaultConfig:
    """Bot Configuration"""

    PORT = 3978
    APP_ID = os.environ.get("MicrosoftAppId", "{ROOT}")
    APP_PASSWORD = os.environ.get("MicrosoftAppPassword", "{SECRET}")
    APP_TYPE = os.environ.get("MicrosoftAppType", "MultiTenant")
    SKILL_HOST_ENDPOINT = "{CALLBACK}"
    SKILLS = [
        {{"id": "EchoSkillBot", "app_id": "{SKILL}", "skill_endpoint": "{ENDPOINT}"}},
    ]
    ALLOWED_CALLERS = os.environ.get("AllowedCallers", ["*"])


class SkillConfiguration:
    SKILL_HOST_ENDPOINT = DefaultConfig.SKILL_HOST_ENDPOINT
    SKILLS: Dict[str, BotFrameworkSkill] = {{
        skill["id"]: BotFrameworkSkill(**skill) for skill in DefaultConfig.SKILLS
    }}
'''

NODE = f"""# a comment
MicrosoftAppType=MultiTenant
MicrosoftAppId={ROOT}
MicrosoftAppPassword='{SECRET}'
SkillHostEndpoint={CALLBACK}
SkillId=EchoSkillBot
SkillAppId={SKILL}
SkillEndpoint={ENDPOINT}
"""

AGENTS_NET = json.dumps(
    {
        "Agent": {
            "ClientId": ROOT,
            "Host": {
                "DefaultResponseEndpoint": "https://root.example.com/api/agentresponse/",
                "Agents": {
                    "EchoSkillBot": {
                        "ConnectionSettings": {
                            "ClientId": SKILL,
                            "Endpoint": ENDPOINT,
                            "TokenProvider": "Other",
                        }
                    }
                },
            },
        },
        "Connections": {
            "ServiceConnection": {"Settings": {"ClientId": THIRD, "ClientSecret": "not this one"}},
            "Other": {
                "Settings": {
                    "AuthType": "ClientSecret",
                    "AuthorityEndpoint": f"https://login.microsoftonline.com/{TENANT}",
                    "ClientId": ROOT,
                    "ClientSecret": SECRET,
                }
            },
        },
    }
)

AGENTS_PYTHON = f"""
from os import environ
from microsoft_agents.hosting.core.client import ChannelHostConfiguration, ChannelInfo

class DefaultConfig:
    APP_ID = environ.get("APP_ID", "{ROOT}")
    APP_PASSWORD = environ.get("APP_PASSWORD", "{SECRET}")

    @staticmethod
    def CHANNEL_HOST_CONFIGURATION():
        return ChannelHostConfiguration(
            CHANNELS=[
                ChannelInfo(id="EchoSkillBot", app_id="{SKILL}", endpoint="{ENDPOINT}"),
            ],
            HOST_ENDPOINT="{CALLBACK}",
            HOST_APP_ID="{ROOT}",
        )
"""

AGENTS_NODE = f"""
connections__serviceConnection__settings__clientId={ROOT}
connections__serviceConnection__settings__clientSecret={SECRET}
connections__serviceConnection__settings__tenantId={TENANT}
EchoSkillBot_endpoint={ENDPOINT}
EchoSkillBot_clientId={SKILL}
EchoSkillBot_serviceUrl=https://root.example.com/api/agentresponse
"""

COMPOSER = json.dumps(
    {
        "MicrosoftAppId": ROOT,
        "MicrosoftAppPassword": SECRET,
        "skill": {"EchoSkillBot": {"endpointUrl": ENDPOINT, "msAppId": SKILL}},
        "skillHostEndpoint": CALLBACK,
        "skillConfiguration": {"isSkill": False, "allowedCallers": ["*"]},
    }
)

FILES = {
    "appsettings.json": DOTNET,
    "colons.json": COLONS,
    "assistant.json": ASSISTANT,
    "config.py": PYTHON,
    "bot.env": NODE,
    "agents.json": AGENTS_NET,
    "agents.py": AGENTS_PYTHON,
    "agents.env": AGENTS_NODE,
    "composer.json": COMPOSER,
}
"""Each describes the same root with the same skill."""


def manifest(*endpoints: str, **more: Any) -> str:
    """A manifest of the skill with these endpoints."""
    return json.dumps(
        {
            "$schema": "https://schemas.botframework.com/schemas/skills/v2.1/skill-manifest.json",
            "$id": "EchoSkillBot",
            "name": "Echo",
            "version": "1.0",
            "publisherName": "Example",
            "endpoints": [
                {
                    "name": f"e{n}",
                    "endpointUrl": url,
                    "msAppId": SKILL,
                    "protocol": "BotFrameworkV3",
                }
                for n, url in enumerate(endpoints)
            ],
        }
        | more
    )
