"""Bodies as people read them: text, and indented where it is JSON. No value is changed: a number keeps its digits, a name that
is there twice stays twice."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_TOKENS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
#: JSON that is nested deeper is shown as it is: indented, it would run away to the right.
_DEEPEST = 50
#: So is JSON of which more characters would come: a short body of many small values, deep inside, would fill megabytes.
_LONGEST = 256 * 1024


@dataclass(frozen=True, slots=True)
class PrettyBody:
    text: str
    #: It was JSON, and has got line breaks that are not in the body.
    is_indented: bool


def pretty_body(body: bytes | str) -> PrettyBody:
    """The body as text, what is no UTF-8 replaced; indented where it is JSON."""
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
    """Empty where it is nested too deeply, or would become too long."""
    lines: list[str] = []
    depth, line, before, size = 0, "", "", 0
    for found in _TOKENS.finditer(text):
        piece = found[0]
        depth -= piece in "}]"
        # Empty ones stay on their line.
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
