"""The programming languages of the snippets."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field


def _as_in_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _without_code(text: str) -> str:
    """Escape the text for Ruby, which runs code between `#{` and `}`."""
    return _as_in_json(text).replace("#", "\\#")


def _single_quoted(text: str) -> str:
    """Quote the text for PHP, which replaces variables in double quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _in_rack(header: str) -> str:
    return "HTTP_" + header.upper().replace("-", "_")


@dataclass(frozen=True, slots=True)
class Language:
    """One language, with its names for programs, users and files."""

    #: Stable, for programs: URLs, anchors.
    name: str
    #: For users.
    title: str
    #: The extension of snippet files, without the dot.
    ending: str
    #: Returns a string as a literal of the language, quotes included.
    literal: Callable[[str], str] = field(repr=False, compare=False)
    #: Returns the key that looks up a header.
    lookup: Callable[[str], str] = field(repr=False, compare=False, default=str.lower)
    #: The operator that concatenates strings.
    joined_by: str = " + "
    #: Modules that the code may use, in the order of their import; empty if the code contains all its imports.
    modules: tuple[str, ...] = ()
    import_line: str = ""


_GO = (
    "crypto/hmac", "crypto/sha256", "encoding/base64", "encoding/hex", "errors", "io", "log", "net/http", "os", "strconv",
    "strings", "time",
)  # fmt: skip

#: In the order in which they are shown.
LANGUAGES: tuple[Language, ...] = (
    Language("python", "Python", "py", _as_in_json, modules=("base64", "hmac", "os", "time"), import_line="import {}"),
    Language("node", "Node.js", "mjs", _as_in_json),
    Language("php", "PHP", "php", _single_quoted, joined_by=" . "),
    Language("go", "Go", "go", _as_in_json, str, modules=_GO, import_line='\t"{}"'),
    Language("ruby", "Ruby", "rb", _without_code, _in_rack),
)
