"""No sender chooses the codec that its text is decoded with: some take quadratic time, and some are not for text."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from django.test import Client

from project.asgi import application as asgi
from project.utf8 import UTF8ASGIRequest
from project.wsgi import application as wsgi

CODECS = ["punycode", "zlib", "utf-7", "nonsense"]


def ask(method: str, path: str, query: str = "", body: bytes = b"", content_type: str = "") -> tuple[str, float]:
    """Return the status, and the processor time in seconds."""
    found: list[str] = []
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body), "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80", "wsgi.url_scheme": "http", "HTTP_HOST": "127.0.0.1", "HTTP_COOKIE": "csrftoken=" + "a" * 32,
    }  # fmt: skip
    began = time.process_time()
    response = wsgi(environ, lambda status, headers: found.append(status))
    seconds = time.process_time() - began
    response.close()
    return found[0], seconds


@pytest.mark.django_db
@pytest.mark.parametrize("codec", CODECS)
def test_a_form_is_read_as_utf8(codec: str) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"a-" + b"z" * 200_000 + b"\r\n--x--\r\n"
    kind = "multipart/form-data; boundary=x"
    plain, seconds = ask("POST", "/webhooks/portal/x", body=part, content_type=kind)
    status, spent = ask("POST", "/webhooks/portal/x", body=part, content_type=f"{kind}; charset={codec}")
    assert status == plain == "403 Forbidden"  # the form lacks the token
    assert spent < 10 * seconds + 0.2


@pytest.mark.django_db
@pytest.mark.parametrize("codec", CODECS)
def test_a_query_is_read_as_utf8(codec: str) -> None:
    query = "a=" + "x" * 100_000
    plain, seconds = ask("GET", "/webhooks/portal/x", query, content_type="text/plain")
    status, spent = ask("GET", "/webhooks/portal/x", query, content_type=f"text/plain; charset={codec}")
    assert status == plain
    assert spent < 10 * seconds + 0.2


def test_asgi_requests_do_the_same() -> None:
    assert asgi.request_class is UTF8ASGIRequest
    scope = {
        "type": "http", "method": "GET", "path": "/", "query_string": "a=\u00e4".encode(),
        "headers": [(b"content-type", b"text/plain; charset=utf-7")],
    }  # fmt: skip
    assert UTF8ASGIRequest(scope, io.BytesIO()).GET["a"] == "\u00e4"


@pytest.mark.django_db
def test_pages_of_the_app_do_so_in_any_project() -> None:
    client = Client(enforce_csrf_checks=False)
    response = client.generic(
        "POST", "/webhooks/portal/x", b"a=1", content_type="application/x-www-form-urlencoded; charset=zlib"
    )
    assert response.wsgi_request.encoding == "utf-8"
