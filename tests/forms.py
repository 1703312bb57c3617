"""What people send from the customers' pages: the forms as a browser would fill them in."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

from django.test import Client

_FORM_ID = re.compile(r'name="form_id" value="([0-9a-f]{32})"')
_SECRET = re.compile(r'<code id="secret"[^>]*>([^<]+)</code>')


def fields_of(page: str) -> dict[str, str]:
    """The named fields of all forms in a page that post, with the values that a browser would send."""
    parser = _Fields()
    for form in re.findall(r'<form[^>]*method="post".*?</form>', page, re.S):
        parser.feed(form)
    return parser.found


class _Fields(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        name = values.get("name", "")
        if tag == "option" and self._select:
            if "selected" in values or self._select not in self.found:
                self.found[self._select] = values.get("value", "")
        elif name and tag == "select":
            self._select = name
        elif name and tag == "textarea":
            self.found.setdefault(name, "")
        elif name and tag in ("input", "button"):
            is_choice = values.get("type") in ("checkbox", "radio")
            if not is_choice or "checked" in values or name not in self.found:
                self.found[name] = values.get("value", "on")

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = ""


def form_ids(page: str) -> list[str]:
    """The ids of the forms in a page that are good for one use."""
    return _FORM_ID.findall(page)


def form_id(page: str) -> str:
    """The first of them; fails where there is none."""
    return form_ids(page)[0]


def secret_in(page: str) -> str:
    """The secret that the page shows; fails where there is none."""
    found = _SECRET.search(page)
    assert found, "no secret is shown"
    return found[1]


def endpoint_values(client: Client, address: str = "/webhooks/endpoints/new", **values: Any) -> dict[str, Any]:
    """A fresh form for an endpoint, filled in: all events at https://example.com/hook, and no headers, unless told."""
    [number] = form_ids(client.get(address).content.decode())
    filled = {"form_id": number, "url": "https://example.com/hook", "which": "all"}
    return {**filled, **header_values(), **values}


def header_values(*rows: tuple[str, str], stored: tuple[tuple[str, str, str], ...] = ()) -> dict[str, str]:
    """Rows for custom headers: name and value, after those that are stored: name, what becomes of it, value."""
    values = {"header-TOTAL_FORMS": str(len(stored) + len(rows)), "header-INITIAL_FORMS": str(len(stored))}
    for number, (name, act, value) in enumerate(stored):
        values |= {f"header-{number}-name": name, f"header-{number}-act": act, f"header-{number}-value": value}
    for number, (name, value) in enumerate(rows, len(stored)):
        values |= {f"header-{number}-name": name, f"header-{number}-value": value}
    return values
