"""The description of a signature scheme, for pages, checks and snippets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from webhooks_app.exceptions import gettext_noop

if TYPE_CHECKING:
    from webhooks_app.core.signing import SignatureScheme


@dataclass(frozen=True, slots=True)
class HeaderHelp:
    """One header of a signature. `meaning`: one translatable sentence, formatted with `values` by name."""

    name: str
    meaning: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SnippetSource:
    """The texts in `snippets/texts/` that verify the scheme's signatures, and their parameters."""

    #: The texts' name: `texts/<language>/<name>.txt`.
    name: str
    #: The signature's header, if the host chooses its name.
    header: str = ""
    #: The prefix of the signature.
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class SchemeHelp:
    """The description of a scheme, in its attribute `help`. All fields are optional."""

    #: The signed content, such as "{t}.{body}".
    signed_content: str = ""
    headers: tuple[HeaderHelp, ...] = ()
    #: The header with the event's id, if there is one; in lower case.
    event_id_header: str = ""
    #: Returns the text of the timestamp, "" if it is missing, from the headers of `header_names` in lower case. None:
    #: signatures have no timestamp.
    timestamp: Callable[[Mapping[str, str]], str] | None = None
    #: None: there are no snippets.
    snippet: SnippetSource | None = None

    @property
    def is_dated(self) -> bool:
        """Return whether signatures have a timestamp, so that a receiver knows a request's age."""
        return self.timestamp is not None


def help_of(scheme: SignatureScheme) -> SchemeHelp:
    """Return the scheme's description; if it has none, one with the names of its headers."""
    found = getattr(scheme, "help", None)
    if isinstance(found, SchemeHelp):
        return found
    return SchemeHelp(
        headers=tuple(HeaderHelp(name, gettext_noop("Part of the signature.")) for name in scheme.header_names)
    )


def timestamp_in(scheme: SignatureScheme, headers: Mapping[str, str]) -> str | None:
    """Return the text of the timestamp; None if signatures have no timestamp, or if a custom scheme fails.

    `headers`: by name in lower case.
    """
    timestamp = help_of(scheme).timestamp
    if timestamp is None:
        return None
    try:
        return timestamp(dict.fromkeys(scheme.header_names, "") | dict(headers))
    except Exception:  # noqa: BLE001 - the host's scheme may raise anything
        return None
