"""From the members of a manifest in the newest shape to the model, telling what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from skills_host.clouds import canonical_app_id
from skills_host.consumer.manifest.addresses import Network, endpoint_fault
from skills_host.consumer.manifest.document import Node
from skills_host.consumer.manifest.findings import Findings
from skills_host.consumer.manifest.model import (
    Declared,
    Endpoint,
    Generation,
    LanguageModel,
    Manifest,
)
from skills_host.wire import encode

__all__ = ["ENDPOINT_MEMBERS", "LINKS", "ROOT_MEMBERS", "meant_by", "members_read"]

MOST_ACTIVITIES = 200

ROOT_MEMBERS = (
    *("$schema", "$id", "name", "version", "description", "publisherName", "privacyUrl"),
    *("copyright", "license", "iconUrl", "tags", "endpoints", "dispatchModels", "activities"),
    *("activitiesSent", "definitions"),
)
ENDPOINT_MEMBERS = ("name", "endpointUrl", "msAppId", "protocol", "description")
LINKS = ("iconUrl", "privacyUrl")
"""Addresses that people are shown."""

_NAMED = frozenset({"event", "invoke"})
_TYPES = _NAMED | {
    *("message", "messageReaction", "endOfConversation", "handoff", "typing", "trace"),
    *("conversationUpdate", "installationUpdate", "contactRelationUpdate", "suggestion"),
    *("deleteUserData", "messageUpdate", "messageDelete", "command", "commandResult"),
}
_GUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)
_BLANK = re.compile(r"[{}<>]|\bYOUR\b|^\[[^\]]*\]$", re.IGNORECASE)
_BLANK_IN_TEXT = re.compile(r"<%|\$\{|\{\{|<<")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_SPOKEN = "botframeworkv3"


def members_read(
    root: Node,
    findings: Findings,
    generation: Generation,
    *,
    dev: bool,
    networks: Sequence[Network],
) -> Manifest:
    """The manifest; what cannot be read is in the findings, and left empty here."""
    read = _Members(findings, generation, dev=dev, networks=networks)
    return read.manifest(root)


def meant_by(name: str, known: Sequence[str]) -> str | None:
    """The known name that differs in case or a dollar sign only; None for a known one. Pure."""
    if name in known:
        return None
    folded = {other.lower().lstrip("$"): other for other in known}
    return folded.get(name.lower().lstrip("$"))


class _Members:
    """Reads the members of one manifest; every method says what is wrong and goes on."""

    def __init__(
        self,
        findings: Findings,
        generation: Generation,
        *,
        dev: bool,
        networks: Sequence[Network],
    ) -> None:
        self._findings = findings
        self._say = findings.at
        self._generation = generation
        self._dev = dev
        self._networks = networks

    def manifest(self, root: Node) -> Manifest:
        self._unknown(root, ROOT_MEMBERS)
        needed = self._generation is not Generation.V1
        languages, intents = self._models(root)
        return Manifest(
            id=self._text(root, "$id", full=True),
            name=self._text(root, "name", full=True),
            version=self._text(root, "version", needed=needed),
            description=self._text(root, "description", needed=False),
            publisher=self._text(root, "publisherName", needed=needed),
            endpoints=self._endpoints(root),
            generation=self._generation,
            activities=self._activities(root, "activities"),
            sends=self._activities(root, "activitiesSent"),
            languages=languages,
            intents=intents,
            definitions=self._definitions(root),
            tags=tuple(node.leaf for node in self._texts(root, "tags")),
            icon_url=self._link(root, "iconUrl"),
            privacy_url=self._link(root, "privacyUrl"),
            copyright=self._text(root, "copyright", needed=False),
            license=self._text(root, "license", needed=False),
        )

    # Texts

    def _unknown(self, node: Node, known: Sequence[str]) -> None:
        members = node.members or {}
        for name in members:
            if name not in known:
                meant = meant_by(name, known)
                is_free = meant is not None and meant not in members
                fix = f"call it {meant}: manifest fix" if is_free else ""
                self._say(node, "SKM204", member=name, fix=fix)

    def _text(self, node: Node, name: str, *, needed: bool = True, full: bool = False) -> str:
        """A text member; `full` ones must not be empty."""
        found = self._member(node, name, needed=needed or full)
        if found is None:
            return ""
        if found.text is None:
            self._say(found, "SKM206", "expected text")
            return ""
        if full and not found.text.strip():
            self._say(found, "SKM207")
        elif _BLANK_IN_TEXT.search(found.text):
            self._say(found, "SKM208")
        return found.text

    def _member(self, node: Node, name: str, *, needed: bool) -> Node | None:
        found = (node.members or {}).get(name)
        if found is None and needed:
            self._say(node, "SKM205", name)
        return found

    def _texts(self, node: Node, name: str) -> Iterator[Node]:
        found = (node.members or {}).get(name)
        if found is not None and found.elements is None:
            self._say(found, "SKM206", "expected a list")
        for element in (found.elements or ()) if found is not None else ():
            if element.text is None:
                self._say(element, "SKM206", "expected text")
            else:
                yield element

    def _link(self, root: Node, name: str) -> str:
        """An address that people are shown."""
        found = (root.members or {}).get(name)
        if found is None:
            return ""
        if (url := found.text) is None:
            self._say(found, "SKM206", "expected text")
            return ""
        if url != url.strip():
            self._say(found, "SKM213")
            url = url.strip()
        scheme = _SCHEME.match(url)
        if _BLANK.search(url):
            self._say(found, "SKM208")
        elif scheme and scheme[1].lower() not in ("http", "https"):
            self._say(found, "SKM211")
        elif url and not scheme:
            self._say(found, "SKM210")
        return url

    # Endpoints

    def _endpoints(self, root: Node) -> tuple[Endpoint, ...]:
        found = self._member(root, "endpoints", needed=False)
        if found is None or not (found.elements or found.elements is None):
            self._say(found or root, "SKM301")
            return ()
        if found.elements is None:
            self._say(found, "SKM206", "expected a list")
            return ()
        names: set[str] = set()
        endpoints = [self._endpoint(element, names) for element in found.elements]
        spoken = [endpoint for endpoint in endpoints if endpoint is not None]
        if not spoken:
            self._say(found, "SKM310")
        elif len(spoken) < len(endpoints):
            for element, endpoint in zip(found.elements, endpoints, strict=True):
                if endpoint is None and element.members is not None:
                    self._say(element, "SKM311")
        return tuple(spoken)

    def _endpoint(self, node: Node, names: set[str]) -> Endpoint | None:
        """One endpoint; None if this host does not speak its protocol."""
        if node.members is None:
            self._say(node, "SKM206", "expected an object")
            return None
        self._unknown(node, ENDPOINT_MEMBERS)
        name = self._text(node, "name", full=True)
        if name and name in names:
            self._say(node.members["name"], "SKM309")
        names.add(name)
        protocol = self._text(node, "protocol", needed=False) or "BotFrameworkV3"
        endpoint = Endpoint(
            name=name,
            url=self._url(node),
            app_id=self._app_id(node),
            protocol=protocol,
            description=self._text(node, "description", needed=False),
        )
        return endpoint if protocol.lower() == _SPOKEN else None

    def _url(self, node: Node) -> str:
        found = self._member(node, "endpointUrl", needed=True)
        if found is None or (url := found.text) is None:
            if found is not None:
                self._say(found, "SKM206", "expected text")
            return ""
        if _BLANK.search(url):
            self._say(found, "SKM208")
        elif code := endpoint_fault(url, dev=self._dev, networks=self._networks):
            self._say(found, code)
        return url

    def _app_id(self, node: Node) -> str:
        found = self._member(node, "msAppId", needed=True)
        if found is None or (text := found.text) is None:
            if found is not None:
                self._say(found, "SKM206", "expected text")
            return ""
        if not _GUID.fullmatch(text):
            self._say(found, "SKM208" if _BLANK.search(text) else "SKM302")
            return ""
        if not text.strip("0-"):
            self._say(found, "SKM303")
            return ""
        return canonical_app_id(text)

    # Activities

    def _activities(self, root: Node, member: str) -> Mapping[str, Declared]:
        found = (root.members or {}).get(member)
        if found is None:
            if member == "activities":
                self._say(root, "SKM209")
            return MappingProxyType({})
        if found.members is None:
            self._say(found, "SKM206", "expected an object")
            return MappingProxyType({})
        if len(found.members) > MOST_ACTIVITIES:
            self._say(found, "SKM404")
            return MappingProxyType({})
        read = {name: self._activity(node) for name, node in found.members.items()}
        return MappingProxyType({name: activity for name, activity in read.items() if activity})

    def _activity(self, node: Node) -> Declared | None:
        if node.members is None:
            self._say(node, "SKM206", "expected an object")
            return None
        kind = self._text(node, "type", full=True)
        if kind and kind not in _TYPES:
            self._say(node.members["type"], "SKM403")
        name = self._text(node, "name", needed=False)
        if kind in _NAMED and not name:
            self._say(node, "SKM401")
        if kind == "message" and "name" in node.members:
            self._say(node, "SKM402", member="name")
            name = ""
        description = self._text(node, "description", needed=False)
        if not description and kind in _NAMED | {"message"}:
            self._say(node, "SKM410")
        value, result = node.members.get("value"), node.members.get("resultValue")
        return Declared(
            type=kind,
            name=name,
            description=description,
            value=None if value is None else encode(value.value),
            result=None if result is None else encode(result.value),
        )

    def _definitions(self, root: Node) -> bytes | None:
        found = (root.members or {}).get("definitions")
        if found is None:
            return None
        if found.members is None:
            self._say(found, "SKM206", "expected an object")
            return None
        return encode(found.value)

    # Language models

    def _models(
        self, root: Node
    ) -> tuple[Mapping[str, tuple[LanguageModel, ...]], tuple[str, ...]]:
        found = (root.members or {}).get("dispatchModels")
        if found is None:
            return MappingProxyType({}), ()
        if found.members is None:
            self._say(found, "SKM206", "expected an object")
            return MappingProxyType({}), ()
        self._unknown(found, ("languages", "intents"))
        languages = found.members.get("languages")
        if languages is not None and languages.members is None:
            self._say(languages, "SKM206", "expected an object")
        locales = {} if languages is None else languages.members or {}
        models = {locale: tuple(self._locale(node)) for locale, node in locales.items()}
        intents = tuple(node.leaf for node in self._texts(found, "intents"))
        return MappingProxyType(models), intents

    def _locale(self, models: Node) -> Iterator[LanguageModel]:
        if models.elements is None:
            self._say(models, "SKM206", "expected a list")
        for node in models.elements or ():
            if node.members is None:
                self._say(node, "SKM206", "expected an object")
                continue
            yield LanguageModel(
                name=self._text(node, "name"),
                url=self._model_url(node),
                content_type=self._text(node, "contentType"),
                description=self._text(node, "description", needed=False),
            )

    def _model_url(self, node: Node) -> str:
        found = self._member(node, "url", needed=True)
        url = self._text(node, "url", needed=False)
        if found is None or not url:
            return url
        scheme = _SCHEME.match(url)
        if _BLANK.search(url):
            self._say(found, "SKM208")
        elif scheme is None:
            self._say(found, "SKM210")
        elif scheme[1].lower() != "https":
            self._say(found, "SKM212")
        return url
