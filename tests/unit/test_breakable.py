"""Long URLs break where a reader expects it, and are text whatever they contain."""

from __future__ import annotations

from html import unescape

import pytest
from django.utils.safestring import mark_safe

from webhooks_app.templatetags.webhooks import breakable


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("https://example.com/hooks", ["https://", "example.", "com/", "hooks"]),
        ("/a?b=c&d=e-f_g#h", ["/", "a?", "b=", "c&", "d=", "e-", "f_", "g#", "h"]),
        ("%41%42", ["%41", "%42"]),
        ("a//", ["a//"]),
        ("whole", ["whole"]),
        ("", []),
    ],
)
def test_a_line_may_end_after_what_separates_parts(text: str, lines: list[str]) -> None:
    assert [unescape(line) for line in breakable(text).split("<wbr>") if line] == lines


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/<script>alert(1)</script>?a=\"b\"&c='d'",
        "https://example.com/&lt;b&gt;&amp;",
        mark_safe("https://example.com/<img src=x onerror=alert(1)>"),
    ],
)
def test_what_is_in_it_stays_text(text: str) -> None:
    shown = breakable(text).replace("<wbr>", "")
    assert not set("<>\"'") & set(shown)
    assert unescape(shown) == text
