"""What a signature scheme says about itself, for pages, checks and snippets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from webhooks_app.exceptions import gettext_noop

if TYPE_CHECKING:
    from webhooks_app.core.signing import SignatureScheme


@dataclass(frozen=True, slots=True)
class HeaderHelp:
    """One header of a signature. `meaning`: one sentence that is translated, into which `values` are put by name."""

    name: str
    meaning: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SnippetSource:
    """Which texts in `snippets/texts/` verify the scheme's signatures, and what is filled in."""

    #: The texts' name: `texts/<language>/<name>.txt`.
    name: str
    #: The signature's header, where it has a name of the host's.
    header: str = ""
    #: What the signature begins with.
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class SchemeHelp:
    """What a scheme says about itself in its attribute `help`. All of it is optional."""

    #: What the signature is computed over, such as "{t}.{body}".
    signed_content: str = ""
    headers: tuple[HeaderHelp, ...] = ()
    #: The header with the event's id, if there is one; in lower case.
    event_id_header: str = ""
    #: Returns the text at the place of the timestamp, "" where there is none, given all of `header_names` in lower case. None:
    #: signatures bear no date.
    timestamp: Callable[[Mapping[str, str]], str] | None = None
    #: None: there are no snippets.
    snippet: SnippetSource | None = None

    @property
    def is_dated(self) -> bool:
        """Whether a receiver can see how old a request is."""
        return self.timestamp is not None


def help_of(scheme: SignatureScheme) -> SchemeHelp:
    """Return what the scheme says about itself; of one that says nothing, the names of its headers."""
    found = getattr(scheme, "help", None)
    if isinstance(found, SchemeHelp):
        return found
    return SchemeHelp(
        headers=tuple(HeaderHelp(name, gettext_noop("Part of the signature.")) for name in scheme.header_names)
    )


def timestamp_in(scheme: SignatureScheme, headers: Mapping[str, str]) -> str | None:
    """Return the text at the place of the timestamp; None where signatures bear no date, or a host's own scheme fails.

    `headers`: by their names in lower case.
    """
    timestamp = help_of(scheme).timestamp
    if timestamp is None:
        return None
    try:
        return timestamp(dict.fromkeys(scheme.header_names, "") | dict(headers))
    except Exception:  # noqa: BLE001 - a scheme of the host's may raise anything
        return None
