"""Write the snippet for a wire format: the language's texts, with the values that the wire format's signatures need.

`texts/<language>/frame.txt` is the whole file except for three places: the imports; the conversion of the secret to a key
(`base64.txt` or `utf8.txt`); and the check of the signature. The check is the text that the scheme names, followed by
`dated.txt` if signatures have a timestamp. `@name` is replaced in all of them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources
from string import Template

from webhooks_app.core.scheme_help import SchemeHelp, help_of
from webhooks_app.snippets.languages import Language
from webhooks_app.wire_formats.base import WireFormat


class _Text(Template):
    """A template with `@`, since PHP, JavaScript and Ruby use `$` themselves."""

    delimiter = "@"


def has_snippets(wire_format: WireFormat) -> bool:
    """Return whether there are snippets for this wire format: its scheme names texts in its `help`.

    A subclass of such a scheme may sign in another way. It has snippets if it declares a `help` of its own.
    """
    return _help(wire_format).snippet is not None


def snippet(wire_format: WireFormat, language: Language) -> str:
    """Return the source of one file, in that language, that verifies this wire format's webhooks.

    Raises ValueError for a wire format whose signature scheme has no snippets; ask `has_snippets` first.
    """
    described = _help(wire_format)
    source = described.snippet
    if source is None:
        raise ValueError(
            f"There are no snippets for the wire format {wire_format.name!r}: its signature scheme, "
            f"{type(wire_format.scheme).__name__}, names none in its help."
        )
    values = {
        "secret_prefix": language.literal(wire_format.secret_format.prefix),
        "header": language.literal(language.lookup(source.header)),
        "prefix": language.literal(source.prefix) + language.joined_by if source.prefix else "",
        "once": f"once for each {described.event_id_header}, " if described.event_id_header else "",
    }
    parts = {
        "key": _filled(language, wire_format.secret_format.key_from, values),
        "check": "\n".join(
            _filled(language, name, values) for name in (source.name, *(["dated"] if described.is_dated else []))
        ),
    }
    imports = _imports(language, "".join([*parts.values(), _text(language.name, "frame").template]))
    return _filled(language, "frame", {**values, **parts, "imports": imports}) + "\n"


def _help(wire_format: WireFormat) -> SchemeHelp:
    scheme = wire_format.scheme
    return help_of(scheme) if "help" in vars(type(scheme)) else SchemeHelp()


def _imports(language: Language, code: str) -> str:
    """Return the lines that import what the code uses as `name.something`."""
    used = (name for name in language.modules if re.search(rf"\b{name.rpartition('/')[2]}\.\w", code))
    return "\n".join(language.import_line.format(name) for name in used)


def _filled(language: Language, name: str, values: dict[str, str]) -> str:
    return _text(language.name, name).substitute(values).removesuffix("\n")


@lru_cache
def _text(language: str, name: str) -> _Text:
    return _Text((resources.files(__package__) / "texts" / language / f"{name}.txt").read_text(encoding="utf-8"))
