"""The how-to page for receivers with the snippets in it. `make snippets` writes it anew."""

from __future__ import annotations

import re
from pathlib import Path

from webhooks_app.snippets import LANGUAGES, Language, snippet
from webhooks_app.wire_formats.standard import WIRE_FORMAT

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "verify-a-webhook.md"


def renewed(text: str) -> str:
    """The page's text with each language's block as the snippet is now. Raises LookupError where a block is missing."""
    for language in LANGUAGES:
        text = _with_snippet(text, language)
    return text


def _with_snippet(text: str, language: Language) -> str:
    block = re.compile(
        rf"(^### {re.escape(language.title)}\n\n```{language.ending}\n).*?(^```$)", re.MULTILINE | re.DOTALL
    )
    text, count = block.subn(lambda found: found[1] + snippet(WIRE_FORMAT, language) + found[2], text)
    if count != 1:
        raise LookupError(
            f"{PAGE.name} needs one heading '### {language.title}' and a block ```{language.ending} below it."
        )
    return text


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
