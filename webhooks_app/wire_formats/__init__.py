"""Wire formats: the parts to build one, and the known ones by name (`standard`, and those in WEBHOOKS["WIRE_FORMATS"])."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from webhooks_app.core.envelope import Flat, Nested, epoch_ms, iso_ms, iso_seconds, standard_envelope
from webhooks_app.core.message import Message
from webhooks_app.core.retry import (
    GONE,
    OVERLOADED,
    RETRY_AFTER,
    STANDARD_RULES,
    OutcomeKind,
    RetryPolicy,
    RuleEffect,
    StatusRule,
)
from webhooks_app.core.scheme_help import HeaderHelp, SchemeHelp, SnippetSource
from webhooks_app.core.signing import HexScheme, SecretFormat, SignatureScheme, StandardScheme, TimestampedHexScheme
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.wire_formats.base import WireFormat
from webhooks_app.wire_formats.host import HostWireFormats
from webhooks_app.wire_formats.standard import WIRE_FORMAT as STANDARD

__all__ = [
    "GONE",
    "OVERLOADED",
    "RETRY_AFTER",
    "STANDARD",
    "STANDARD_RULES",
    "Flat",
    "HeaderHelp",
    "HexScheme",
    "Message",
    "Nested",
    "OutcomeKind",
    "RetryPolicy",
    "RuleEffect",
    "SchemeHelp",
    "SecretFormat",
    "SignatureScheme",
    "SnippetSource",
    "StandardScheme",
    "StatusRule",
    "TimestampedHexScheme",
    "WireFormat",
    "epoch_ms",
    "get_wire_format",
    "iso_ms",
    "iso_seconds",
    "standard_envelope",
    "wire_format_names",
]

#: The wire formats in `webhooks_app.contrib`, which a host can enable.
CONTRIB = ("gateway", "messages_dev", "msgflash", "msgine", "muchaw")

_HOST_WIRE_FORMATS = HostWireFormats()


def get_wire_format(name: str) -> WireFormat:
    """Return the wire format of that name; the settings take precedence over `standard`.

    Raises ConfigurationError if there is none, naming those that exist, or if the host's module cannot be imported.
    """
    paths = _from_settings()
    if name in paths:
        return _HOST_WIRE_FORMATS.load(name, paths[name])
    if name == STANDARD.name:
        return STANDARD
    raise ConfigurationError(f"There is no wire format {name!r}.{_how_to_get(name)}")


def retry_policy_of(name: str) -> RetryPolicy:
    """Return the retry policy of that wire format, or the standard one if it cannot be loaded. Never raises."""
    return find_retry_policy(name) or RetryPolicy()


def find_retry_policy(name: str) -> RetryPolicy | None:
    """Return the retry policy of that wire format; None if it cannot be loaded. Never raises."""
    try:
        return get_wire_format(name).retry
    except ConfigurationError:
        return None


def known_retry_policy_of(name: str) -> RetryPolicy:
    """Return the retry policy of that wire format if it is loaded, otherwise the standard one. Imports nothing, never raises."""
    try:
        wire_format = _HOST_WIRE_FORMATS.loaded(name, _from_settings().get(name))
    except ConfigurationError:
        wire_format = None
    return (wire_format or STANDARD).retry


def load_wire_formats() -> None:
    """Import the host's wire formats that this process did not try to import before. Never raises: the checks report it."""
    with suppress(ConfigurationError):
        for name, path in _from_settings().items():
            with suppress(ConfigurationError):
                _HOST_WIRE_FORMATS.load_first(name, path)


def wire_format_names() -> tuple[str, ...]:
    """Return every name that `get_wire_format` knows, sorted."""
    return tuple(sorted({STANDARD.name, *map(str, _from_settings())}))


def _how_to_get(name: str) -> str:
    if name in CONTRIB:
        return f" Switch it on: WEBHOOKS['WIRE_FORMATS'] = {{{name!r}: 'webhooks_app.contrib.{name}.WIRE_FORMAT'}}."
    return f" Known wire formats: {', '.join(wire_format_names())}."


def _from_settings() -> Mapping[str, str]:
    """Return name → dotted path of the wire formats."""
    from webhooks_app import conf

    return conf.settings().WIRE_FORMATS
