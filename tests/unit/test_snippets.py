"""What the snippets are made of. That they verify is shown in acceptance/test_snippets.py."""

from __future__ import annotations

import ast
from dataclasses import replace

import pytest

from tests.wire_formats import BUILT_IN
from webhooks_app.core.scheme_help import SchemeHelp, SnippetSource
from webhooks_app.core.signing import HexScheme
from webhooks_app.snippets import LANGUAGES, Language, has_snippets, snippet
from webhooks_app.wire_formats.base import WireFormat

EVERY_WIRE_FORMAT = pytest.mark.parametrize("wire_format", BUILT_IN.values(), ids=lambda wire_format: wire_format.name)
EVERY_LANGUAGE = pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)


class OwnScheme(HexScheme):
    """A host's own: whatever it does differently, a snippet would not know."""


class DescribedScheme(HexScheme):
    """A host's own, which signs as its base class does and says so."""

    @property
    def help(self) -> SchemeHelp:
        return SchemeHelp(signed_content="{body}", snippet=SnippetSource("hex", self.header))


def test_languages_come_in_the_order_in_which_people_are_shown_them() -> None:
    assert [(language.name, language.title, language.ending) for language in LANGUAGES] == [
        ("python", "Python", "py"),
        ("node", "Node.js", "mjs"),
        ("php", "PHP", "php"),
        ("go", "Go", "go"),
        ("ruby", "Ruby", "rb"),
    ]


@EVERY_WIRE_FORMAT
@EVERY_LANGUAGE
def test_a_snippet_is_complete_and_fits_on_a_page(wire_format: WireFormat, language: Language) -> None:
    assert has_snippets(wire_format)
    text = snippet(wire_format, language)
    assert "@" not in text, "a place that is filled in"
    assert "WEBHOOK_SECRET" in text
    assert len(text.splitlines()) <= (60 if language.name == "go" else 40)  # Go's imports take a dozen
    assert max(map(len, text.splitlines())) <= 110


@EVERY_WIRE_FORMAT
def test_the_snippet_in_python_is_for_python_3_9_too(wire_format: WireFormat) -> None:
    ast.parse(snippet(wire_format, LANGUAGES[0]), feature_version=(3, 9))


def test_there_are_none_for_a_scheme_of_the_hosts_own() -> None:
    wire_format = replace(BUILT_IN["msgflash"], name="mine", scheme=OwnScheme("X-Mine"))
    assert not has_snippets(wire_format)
    with pytest.raises(ValueError, match=r"'mine'.*OwnScheme"):
        snippet(wire_format, LANGUAGES[0])


@EVERY_LANGUAGE
def test_a_scheme_of_the_hosts_can_name_the_snippets_that_verify_it(language: Language) -> None:
    wire_format = replace(BUILT_IN["msgine"], name="mine", scheme=DescribedScheme("X-MsGine-Signature"))
    assert has_snippets(wire_format)
    assert snippet(wire_format, language) == snippet(BUILT_IN["msgine"], language)
