"""Code snippets for receivers that verify a wire format's webhooks, to copy and paste. Needs no Django.

    for language in LANGUAGES:
        language.title, snippet(wire format, language)

A snippet is one complete file. One function verifies a request, whose body must be unchanged; another one receives requests,
reads the secret from the environment variable WEBHOOK_SECRET, and responds with 204 or 401. Snippets use only the standard
library of their language.
"""

from __future__ import annotations

from webhooks_app.snippets.languages import LANGUAGES, Language
from webhooks_app.snippets.write import has_snippets, snippet

__all__ = ["LANGUAGES", "Language", "has_snippets", "snippet"]
