"""Reading skill manifests of every generation, and filling in the templates of our own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from skills_host.consumer.manifest.addresses import PRIVATE_NETWORKS, Network
from skills_host.consumer.manifest.declared import schemas_checked
from skills_host.consumer.manifest.document import Document, Node, found_at, scan
from skills_host.consumer.manifest.findings import Findings
from skills_host.consumer.manifest.generations import (
    PUBLISHED,
    declared_generation,
    modernised,
    shape_of,
)
from skills_host.consumer.manifest.members import members_read
from skills_host.consumer.manifest.model import Generation, Manifest, Profile, Reading
from skills_host.consumer.manifest.published import complaints
from skills_host.consumer.manifest.studio import studio_checked
from skills_host.errors import SettingsError
from skills_host.wire import encode

__all__ = ["MANIFEST_BYTES", "read", "read_manifest", "rendered"]

MANIFEST_BYTES = 512 * 1024

_BLANK = re.compile(r"\$?\{([A-Za-z_]\w*)\}")
_UNPUBLISHED = frozenset(
    {Generation.V1, Generation.PROTOTYPE_FIRST, Generation.PROTOTYPE, Generation.V2_1_PREVIEW_0}
)


def read(
    data: bytes,
    *,
    profile: Profile = Profile.COMPAT,
    dev: bool = False,
    networks: Sequence[Network] = (),
) -> Reading:
    """What `data` says, judged by a profile; never raises, and neither fetches nor resolves.

    With `dev`, endpoints may be plain http on loopback. Endpoints in `networks` are allowed beside
    public ones. The manifest is there exactly where no finding is an error.
    """
    if len(data) > MANIFEST_BYTES:
        findings = Findings(Document("", None))
        findings.at_offset(0, "SKM001")
        return Reading(None, findings.in_order())
    document = scan(data)
    findings = Findings(document)
    for fault in document.faults:
        findings.at_offset(fault.offset, fault.code, fault.message, path=fault.path)
    root = document.root
    if root is None or findings.has_errors:
        return Reading(None, findings.in_order())
    if root.members is None:
        findings.at(root, "SKM010")
        return Reading(None, findings.in_order())
    if profile is Profile.STRICT:
        return _strictly(root, findings)
    newest = modernised(root)
    generation = _generation(root, findings)
    manifest = members_read(newest, findings, generation, dev=dev, networks=networks)
    schemas_checked(newest, findings)
    if profile is Profile.COPILOT_STUDIO:
        studio_checked(newest, len(data), findings)
    return Reading(None if findings.has_errors else manifest, findings.in_order())


def _strictly(root: Node, findings: Findings) -> Reading:
    """Judged by the published schema alone; what only this host asks is not asked."""
    schema = (root.members or {}).get("$schema")
    declared = declared_generation(schema.text if schema else None)
    generation = declared or shape_of(root) or Generation.V2_2
    for complaint in complaints(root.value, generation):
        node = found_at(root, complaint.path)
        findings.at(node, complaint.code, complaint.message, member=complaint.member)
    if findings.has_errors:
        return Reading(None, findings.in_order())
    unheard = Findings(Document("", None))
    manifest = members_read(modernised(root), unheard, generation, dev=True, networks=())
    return Reading(manifest, findings.in_order())


def read_manifest(data: bytes, *, source: str) -> Manifest:
    """The manifest that an operator has configured; `SettingsError` naming `source` otherwise.

    Who wrote the configuration may mean a loopback or private address.
    """
    reading = read(data, dev=True, networks=PRIVATE_NETWORKS)
    if reading.manifest is None:
        fault = reading.errors[0]
        where = f"line {fault.line}, column {fault.column}"
        raise SettingsError(f"{source}: {fault.pointer}: {fault.message} ({fault.code}, {where})")
    return reading.manifest


def rendered(template: str, values: Mapping[str, str]) -> str:
    """A manifest template with each `${name}` replaced by its value, as JSON text.

    `{name}`, as the templates of others have it, is replaced too, where there is a value for it.
    Raises `KeyError` for a `${name}` without a value.
    """

    def filled(blank: re.Match[str]) -> str:
        if blank[0][0] == "{" and blank[1] not in values:
            return blank[0]
        return encode(values[blank[1]]).decode()[1:-1]

    return _BLANK.sub(filled, template)


def _generation(root: Node, findings: Findings) -> Generation:
    """The generation that a manifest is read as: by its shape where it has an older one."""
    schema = (root.members or {}).get("$schema")
    declared = declared_generation(schema.text if schema else None)
    shape = shape_of(root)
    if shape is Generation.V1 and schema is None:
        findings.at(root, "SKM203")
        return shape
    if schema is None:
        findings.at(root, "SKM201", "there is none")
    elif schema.text is None:
        findings.at(schema, "SKM206", "expected text")
    elif schema.text not in PUBLISHED:
        findings.at(schema, "SKM201")
    if shape is not None and declared is not None and declared is not shape:
        findings.at(schema or root, "SKM202", f"that of {shape}")
    read_as = shape or declared or Generation.V2_2
    if read_as in _UNPUBLISHED:
        findings.at(root, "SKM203", str(read_as))
    return read_as
