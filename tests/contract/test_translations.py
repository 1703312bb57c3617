"""Every text has its French and its Brazilian Portuguese, with the same placeholders and tags, and they are compiled."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import django
import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from django.utils.translation.template import templatize

APP = Path(__file__).resolve().parents[2] / "webhooks_app"
LANGUAGES = ["fr", "pt_BR"]
RENEW = "`make messages` brings the files up to date; then translate what is new in them, and run it once more"

#: What `makemessages` looks for.
_KEYWORDS: dict[str, Any] = {
    **dict.fromkeys(["_", "gettext", "gettext_lazy", "gettext_noop"]),
    **dict.fromkeys(["ngettext", "ngettext_lazy"], (1, 2)),
    **dict.fromkeys(["pgettext", "pgettext_lazy"], ((1, "c"), 2)),
    **dict.fromkeys(["npgettext", "npgettext_lazy"], ((1, "c"), 2, 3)),
}
_ALIAS = re.compile(r"import .*?\bn?p?gettext\w* as (?!_$)\w+", re.MULTILINE)
_CALL = re.compile(r"""\b(?:n?p?gettext|_)\(\s*(?:u?(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|count|[,\s])+\)""")
_PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%%|\{\w*\}")
_TAG = re.compile(r"</?[a-z][^>]*>")

#: Context (None: none) and text, or both texts where there is a plural.
Key = tuple[str | None, Any]


def test_there_are_texts_of_every_kind():
    found = set(sources())
    assert len(found) > 1000
    assert {
        (None, "This address is not allowed."),
        (None, "Endpoints"),
        ("state", "paused"),
        (None, "at once"),
    } <= found
    assert (None, ("%(n)d day", "%(n)d days")) in found


@pytest.mark.parametrize("language", LANGUAGES)
class TestALanguage:
    def test_has_every_text_and_no_other(self, language):
        translated = {key_of(message) for message in messages(language)}
        assert sources() - translated == set(), RENEW
        assert translated - sources() == set(), RENEW

    def test_leaves_nothing_open(self, language):
        assert [message.id for message in messages(language) if message.fuzzy or not all(texts(message.string))] == []

    def test_keeps_placeholders_and_tags(self, language):
        for message in messages(language):
            originals = texts(message.id)
            for text in texts(message.string):
                for pattern in (_PLACEHOLDER, _TAG):
                    allowed = [sorted(pattern.findall(original)) for original in originals]
                    assert sorted(pattern.findall(text)) in allowed, message.id

    def test_is_compiled(self, language):
        with (folder(language) / "django.mo").open("rb") as file:
            compiled = {key_of(message): texts(message.string) for message in read_mo(file) if message.id}
        assert compiled == {key_of(message): texts(message.string) for message in messages(language)}, RENEW

    def test_says_nothing_otherwise_than_django(self, language):
        """One catalogue serves the whole project: another word here would be another word in the host's admin."""
        ours = {key_of(message): texts(message.string) for message in messages(language)}
        for path in Path(django.__path__[0]).glob(f"**/locale/{language}/LC_MESSAGES/django.mo"):
            with path.open("rb") as file:
                for message in read_mo(file):
                    if message.id and key_of(message) in ours:
                        assert ours[key_of(message)] == texts(message.string), f"{message.id!r}: give it a context"


def test_no_mark_has_a_name_that_is_not_looked_for():
    assert [path.name for path in APP.rglob("*.py") if _ALIAS.search(path.read_text())] == []


@cache
def sources() -> frozenset[Key]:
    """The texts that are marked."""
    return frozenset(key for path in APP.rglob("*") for key in marked(path))


def marked(path: Path) -> Iterator[Key]:
    if path.suffix == ".py":
        code = path.read_text()
    elif path.suffix in (".html", ".txt") and "templates" in path.parts:
        code = "\n".join(_CALL.findall(templatize(path.read_text())))
    else:
        return
    for _line, text, _comments, context in extract("python", io.BytesIO(code.encode()), _KEYWORDS):
        yield context, text


def folder(language: str) -> Path:
    return APP / "locale" / language / "LC_MESSAGES"


@cache
def messages(language: str) -> list[Message]:
    with (folder(language) / "django.po").open("rb") as file:
        catalogue: Catalog = read_po(file, locale=language)
    return [message for message in catalogue if message.id]


def key_of(message: Message) -> Key:
    context: Any = message.context
    context = context.decode() if isinstance(context, bytes) else context  # as `read_mo` leaves it
    return context, message.id if isinstance(message.id, str) else tuple(message.id)


def texts(one_or_more: Any) -> list[str]:
    return [one_or_more] if isinstance(one_or_more, str) else list(one_or_more)
