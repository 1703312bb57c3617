"""The page for receivers shows the snippets as they are, and each wire format's headers."""

from __future__ import annotations

import re

import pytest

from tests.contract.snippets_page import PAGE, renewed
from tests.wire_formats import BUILT_IN


def test_the_page_shows_the_snippets_as_they_are() -> None:
    text = PAGE.read_text()
    assert text == renewed(text), "The snippets have changed. Renew the page with: make snippets"


def test_a_page_without_a_block_for_a_language_is_told() -> None:
    with pytest.raises(LookupError, match="### PHP"):
        renewed(PAGE.read_text().replace("### PHP", "### Perl"))


def test_the_table_names_the_headers_of_every_wire_format() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (`.+?`) \|", PAGE.read_text(), re.MULTILINE)
    documented = {name: tuple(re.findall(r"`(.+?)`", headers)) for name, headers in rows}
    assert documented == {name: wire_format.scheme.header_names for name, wire_format in BUILT_IN.items()}
