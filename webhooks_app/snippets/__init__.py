"""Code for those who receive: how to verify a wire format's webhooks, to be copied and pasted. Needs no Django.

    for language in LANGUAGES:
        language.title, snippet(wire format, language)

A snippet is one whole file. It has a function that verifies a request, of which the body must be as it came, and one that
receives: it reads the secret from the environment variable WEBHOOK_SECRET and answers 204 or 401. It needs nothing but
what its language brings along.
"""

from __future__ import annotations

from webhooks_app.snippets.languages import LANGUAGES, Language
from webhooks_app.snippets.write import has_snippets, snippet

__all__ = ["LANGUAGES", "Language", "has_snippets", "snippet"]
