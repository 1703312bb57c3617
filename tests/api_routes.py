"""Every path of an API, as the project's own URL patterns have it: what is added there is in each test that asks here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

from webhooks_app.api.dialect import DialectView
from webhooks_app.api.views.base import NoSuchPath


@dataclass(frozen=True, slots=True)
class Route:
    """A path below its prefix, with its converters, such as `/webhooks/<path:text>`; methods in capitals."""

    prefix: str
    path: str
    methods: tuple[str, ...]

    @property
    def full(self) -> str:
        """As `resolver_match.route` has it."""
        return self.prefix + self.path

    def at(self, text: str) -> str:
        """The path to ask, with this text, quoted already, for its converter."""
        return "/" + re.sub(r"<[^>]+>", lambda _: text, self.full)


def dialect_routes() -> list[Route]:
    """Those of the APIs of other products, each with the prefix that the project gives it."""
    found = []
    for path, view in every_view():
        kind = getattr(view, "cls", None)
        if kind is not None and issubclass(kind, DialectView) and not issubclass(kind, NoSuchPath):
            prefix, slash, rest = path.partition("/")
            methods = tuple(name.upper() for name in kind.http_method_names if hasattr(kind, name))
            found.append(Route(prefix, slash + rest, tuple(name for name in methods if name != "OPTIONS")))
    return found


def every_view() -> Iterator[tuple[str, Any]]:
    """Every path of the project, with its view."""
    return _views(get_resolver().url_patterns, "")


def _views(patterns: list[Any], path: str) -> Iterator[tuple[str, Any]]:
    for one in patterns:
        if isinstance(one, URLResolver):
            yield from _views(one.url_patterns, path + str(one.pattern))
        elif isinstance(one, URLPattern):
            yield path + str(one.pattern), one.callback
