"""Applications that read every request as UTF-8, whatever charset its Content-Type names.

Django would decode queries and forms with any codec of Python that a sender names. That of `punycode` takes quadratic time: a
form of a megabyte would keep a thread busy for a minute, and no login is needed for it.
"""

from __future__ import annotations

from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import HttpRequest


class _UTF8(HttpRequest):
    """Ignores the charset of a request: None stands for Django's default, which is UTF-8."""

    @property
    def encoding(self) -> str | None:
        return None

    @encoding.setter
    def encoding(self, value: str | None) -> None:
        pass


class UTF8WSGIRequest(_UTF8, WSGIRequest):
    pass


class UTF8ASGIRequest(_UTF8, ASGIRequest):
    pass


class WSGIApplication(WSGIHandler):
    request_class = UTF8WSGIRequest


class ASGIApplication(ASGIHandler):
    request_class = UTF8ASGIRequest
