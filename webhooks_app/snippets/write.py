"""Write the snippet for a wire format: the language's text, with the lines and values that the wire format's signatures need.

In `texts/`, what stands between a line `«if …»` and the next `«end»` is for schemes that have one of the traits named.
`«value»` is filled in as a literal of the language.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources

from webhooks_app.core.signing import HexScheme, StandardScheme, TimestampedHexScheme
from webhooks_app.snippets.languages import Language
from webhooks_app.wire_formats.base import WireFormat

_BLOCK = re.compile(r"^«if ([a-z0-9 ]+)»\n(.*?)^«end»\n", re.MULTILINE | re.DOTALL)
_VALUE = re.compile(r"«(\w+)»")


def has_snippets(wire_format: WireFormat) -> bool:
    """Whether there are snippets for this wire format: its scheme is one of those in `core.signing`, none of the host's own."""
    return type(wire_format.scheme) in (StandardScheme, HexScheme, TimestampedHexScheme)


def snippet(wire_format: WireFormat, language: Language) -> str:
    """The source of one file, in that language, that verifies this wire format's webhooks.

    Raises ValueError for a wire format whose signature scheme is the host's own; ask `has_snippets` first.
    """
    traits = _traits(wire_format)
    values = _values(wire_format, language)
    lines = _BLOCK.sub(lambda block: block[2] if traits & {*block[1].split()} else "", _text(language.name))
    return _VALUE.sub(lambda value: values[value[1]], lines)


def _traits(wire_format: WireFormat) -> set[str]:
    """What decides which lines a snippet has. "dated": old requests can be told; "prefixed" and "bare" are kinds of "hex"."""
    scheme = wire_format.scheme
    if type(scheme) is StandardScheme:
        traits = {"standard", "dated"}
    elif type(scheme) is TimestampedHexScheme:
        traits = {"timestamped", "dated"}
    elif type(scheme) is HexScheme:
        traits = {"hex", "prefixed" if scheme.prefix else "bare"}
    else:
        raise ValueError(
            f"There are no snippets for the wire format {wire_format.name!r}: they know the signature schemes of "
            f"webhooks_app.core.signing, not {type(scheme).__name__}."
        )
    return {*traits, "utf8" if wire_format.secret_format.key_from == "utf8" else "base64"}


def _values(wire_format: WireFormat, language: Language) -> dict[str, str]:
    scheme = wire_format.scheme
    values = {"secret_prefix": language.literal(wire_format.secret_format.prefix)}
    if isinstance(scheme, HexScheme | TimestampedHexScheme):
        values["header"] = language.literal(language.lookup(scheme.header))
    if isinstance(scheme, HexScheme):
        values["signature_prefix"] = language.literal(scheme.prefix)
    return values


@lru_cache
def _text(name: str) -> str:
    return (resources.files(__package__) / "texts" / f"{name}.txt").read_text(encoding="utf-8")
