"""Format bodies for reading: as text, indented if it is JSON.

No value is changed: numbers keep their digits, and duplicate names stay.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

_TOKENS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
#: JSON that is nested more deeply is shown unchanged: indented, it would not fit the width of a page.
_DEEPEST = 50
#: So is JSON whose indented form has more characters: a short body of many deeply nested values would fill megabytes.
_LONGEST = 256 * 1024


@dataclass(frozen=True, slots=True)
class PrettyBody:
    text: str = field(repr=False)
    #: It was JSON and now contains line breaks that the body does not have.
    is_indented: bool


def pretty_body(body: bytes | str) -> PrettyBody:
    """Return the body as text, with invalid UTF-8 replaced; indented if it is JSON."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    text = text.replace("\x00", "�")
    if not text.lstrip().startswith(("{", "[")):
        return PrettyBody(text, is_indented=False)
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return PrettyBody(text, is_indented=False)
    indented = _indented(text)
    return PrettyBody(indented or text, is_indented=bool(indented))


def _indented(text: str) -> str:
    """Return the indented text; empty if it is nested too deeply or would become too long."""
    lines: list[str] = []
    depth, line, before, size = 0, "", "", 0
    for found in _TOKENS.finditer(text):
        piece = found[0]
        depth -= piece in "}]"
        # Keep empty lists and objects on one line.
        if before not in ("{", "[") if piece in "}]" else before in ("{", "[", ","):
            size += len(line) + 1
            if size > _LONGEST:
                return ""
            lines.append(line)
            line = "  " * depth
        line += piece + (" " if piece == ":" else "")
        if piece in ("{", "["):
            depth += 1
            if depth > _DEEPEST:
                return ""
        before = piece
    return "\n".join([*lines, line])
