"""The one table of what can be said about a manifest: code, severity, and what mends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from skills_host.consumer.manifest.model import Severity

__all__ = ["CODES", "Code"]

_ERROR, _WARNING, _INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


@dataclass(frozen=True, slots=True)
class Code:
    """What a code says, how grave it is, and what mends it."""

    severity: Severity
    meaning: str
    fix: str


CODES: Mapping[str, Code] = MappingProxyType(
    {
        # The text
        "SKM001": Code(
            _ERROR, "the manifest is larger than 512 KB", "leave out what is not needed"
        ),
        "SKM002": Code(_ERROR, "the text is not UTF-8", "save it as UTF-8"),
        "SKM003": Code(
            _WARNING, "the text begins with a byte order mark", "save it without one: manifest fix"
        ),
        "SKM004": Code(_ERROR, "the text is not JSON", "mend it at the place"),
        "SKM005": Code(_ERROR, "JSON has no comments", "remove it: manifest fix"),
        "SKM006": Code(
            _ERROR, "a comma stands before a closing bracket", "remove it: manifest fix"
        ),
        "SKM007": Code(_ERROR, "a name appears twice in one object", "keep one of the two"),
        "SKM008": Code(_ERROR, "the manifest is nested deeper than 32 levels", "nest less"),
        "SKM009": Code(
            _ERROR, "a number or an escape cannot be represented", "write what has a meaning"
        ),
        "SKM010": Code(_ERROR, "a manifest is an object", "begin with an opening brace"),
        # The published schema of the declared generation (profile strict)
        "SKM101": Code(_ERROR, "a required member is missing", "add it"),
        "SKM102": Code(_ERROR, "the schema has no member of this name", "remove or rename it"),
        "SKM103": Code(_ERROR, "the value has another type than the schema says", "mend the value"),
        "SKM104": Code(_ERROR, "the value does not have the form that the schema says", "mend it"),
        "SKM105": Code(_ERROR, "the value is not one of those that the schema lists", "use one"),
        "SKM106": Code(_ERROR, "the list or object has too few or doubled elements", "mend it"),
        "SKM107": Code(_ERROR, "this is not a JSON Schema of draft-07", "mend the schema"),
        "SKM108": Code(
            _ERROR,
            "the generation that the manifest declares has no published schema",
            "write it in generation 2.2: manifest upgrade",
        ),
        # The manifest as a whole (profile compat and copilot-studio from here on)
        "SKM201": Code(
            _WARNING,
            "$schema is not one of the published addresses",
            "name the published schema: manifest upgrade",
        ),
        "SKM202": Code(
            _WARNING,
            "the manifest has the shape of another generation than it declares",
            "write it in generation 2.2: manifest upgrade",
        ),
        "SKM203": Code(
            _WARNING,
            "the manifest is of a generation that is no longer published",
            "write it in generation 2.2: manifest upgrade",
        ),
        "SKM204": Code(_WARNING, "an unknown member is ignored", "remove or rename it"),
        "SKM205": Code(_ERROR, "a required member is missing", "add it"),
        "SKM206": Code(_ERROR, "the value has the wrong type", "mend the value"),
        "SKM207": Code(_ERROR, "the text is empty", "say something"),
        "SKM208": Code(
            _ERROR, "a blank of a template is not filled in", "fill it in: manifest render"
        ),
        "SKM209": Code(
            _WARNING,
            "no activities are declared: the skill is taken to accept messages",
            "declare what it accepts",
        ),
        "SKM210": Code(
            _WARNING, "the address is relative to the manifest's own", "write it in full"
        ),
        "SKM211": Code(_ERROR, "the address is not one of the web", "use https, or leave it out"),
        "SKM212": Code(
            _WARNING, "a language model at this address cannot be fetched", "publish it by https"
        ),
        "SKM213": Code(_WARNING, "blanks stand around the address", "remove them: manifest fix"),
        "SKM214": Code(
            _WARNING,
            "language files are named, and did not come with the manifest",
            "put them beside the manifest's file, register it by its address, or give examples in "
            "its registration",
        ),
        "SKM215": Code(
            _WARNING,
            "a language file leads to one that is not beside it, which is not read",
            "put it into the same folder, and name it without one",
        ),
        "SKM216": Code(
            _WARNING,
            "a language file leads to more than 20 others, or over more than 3: not all are read",
            "put what they say into fewer files",
        ),
        # Endpoints
        "SKM301": Code(_ERROR, "the manifest has no endpoint", "add one"),
        "SKM302": Code(_ERROR, "an app id is a GUID", "copy it from the app registration"),
        "SKM303": Code(
            _ERROR, "an app id of zeros is nobody's", "copy it from the app registration"
        ),
        "SKM304": Code(_ERROR, "the endpoint is not an absolute address", "write it in full"),
        "SKM305": Code(_ERROR, "the endpoint is not https", "serve it by https"),
        "SKM306": Code(_ERROR, "the endpoint holds a user name or a password", "leave them out"),
        "SKM307": Code(_ERROR, "the endpoint has a fragment", "leave it out"),
        "SKM308": Code(
            _ERROR,
            "the endpoint is in a private, local or reserved network",
            "use a public address, or have its network allowed",
        ),
        "SKM309": Code(_ERROR, "two endpoints have one name", "give each its own"),
        "SKM310": Code(
            _ERROR, "no endpoint has a protocol that this host speaks", "use BotFrameworkV3"
        ),
        "SKM311": Code(
            _WARNING, "an endpoint of a protocol that this host does not speak is ignored", ""
        ),
        "SKM312": Code(
            _ERROR, "the endpoint's address can be read in more than one way", "write it plainly"
        ),
        # Activities and their schemas
        "SKM401": Code(_ERROR, "an event or invoke activity needs a name", "give it one"),
        "SKM402": Code(_WARNING, "a message activity has no name", "remove the name: manifest fix"),
        "SKM403": Code(_WARNING, "no activity has this type", "use a type of the protocol"),
        "SKM404": Code(_ERROR, "there are more than 200 activities", "declare fewer"),
        "SKM405": Code(_ERROR, "the schema is not one of draft-07", "mend the schema"),
        "SKM406": Code(
            _ERROR, "a reference leads out of the manifest", "put what it names into definitions"
        ),
        "SKM407": Code(_ERROR, "a reference leads nowhere", "define what it names, or remove it"),
        "SKM408": Code(
            _ERROR,
            "a pattern cannot be matched in linear time",
            "write it without look-around, back-references and huge repetitions",
        ),
        "SKM409": Code(_ERROR, "the schema is too large or too deep to be used", "make it smaller"),
        "SKM410": Code(
            _INFO, "an activity has no description, and none can be shown", "describe it"
        ),
        # What Copilot Studio refuses (profile copilot-studio)
        "SKM601": Code(_ERROR, "Copilot Studio takes at most 500 KB", "make it smaller"),
        "SKM602": Code(_WARNING, "Copilot Studio takes at most 100 actions", "declare fewer"),
        "SKM603": Code(_WARNING, "Copilot Studio takes at most 25 inputs of an action", "ask less"),
        "SKM604": Code(
            _WARNING, "Copilot Studio takes at most 25 outputs of an action", "give less"
        ),
        "SKM605": Code(_ERROR, "Copilot Studio takes no lists as inputs or outputs", "use text"),
        "SKM606": Code(
            _INFO, "Copilot Studio shows an action without inputs and outputs", "declare a value"
        ),
        "SKM607": Code(
            _INFO, "Copilot Studio is said to refuse references in value", "write it in place"
        ),
        "SKM608": Code(
            _INFO, "Copilot Studio is said to refuse required in definitions", "leave it out"
        ),
        "SKM609": Code(
            _INFO,
            "Copilot Studio has insisted on $schema and $id as the first members",
            "move them",
        ),
    }
)
