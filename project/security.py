"""Security headers of the project's own pages, the admin's, and the API's documentation."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

_SELF = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
#: Swagger UI sets styles by itself.
WITH_INLINE_STYLES = f"{_SELF}; style-src 'self' 'unsafe-inline'"


def content_security_policy(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Let pages load files of this site only, unless their view sets its own policy.

    Django 6.0 has such a middleware, but the project runs on 5.2, too.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Content-Security-Policy", _SELF)
        return response

    return middleware
