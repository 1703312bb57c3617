"""No sender chooses the codec that its text is decoded with: some take quadratic time, and some are not for text."""

from __future__ import annotations

import io
import re
import time
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from project.asgi import application as asgi
from project.utf8 import UTF8ASGIRequest
from project.wsgi import application as wsgi
from tests.factories import EndpointFactory, TenantFactory
from tests.forms import fields_of
from tests.visitors import visiting

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
@pytest.mark.parametrize("codec", ["punycode", "zlib"])
def test_pages_of_the_app_do_so_in_any_project(codec: str) -> None:
    """Also with Django's own CSRF middleware, which would read the form first. The form lacks the token."""
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"a-" + b"z" * 200_000 + b"\r\n--x--\r\n"
    client = Client(enforce_csrf_checks=True)
    client.cookies["csrftoken"] = "a" * 32
    spent = []
    for named in ("", f"; charset={codec}"):
        began = time.process_time()
        response = client.generic(
            "POST", "/webhooks/portal/x", part, content_type=f"multipart/form-data; boundary=x{named}"
        )
        spent.append(time.process_time() - began)
        assert response.status_code == 403
    assert spent[1] < 10 * spent[0] + 0.2


@pytest.mark.django_db
@pytest.mark.usefixtures("visitors", "event_types")
def test_files_arrive_with_djangos_csrf_middleware() -> None:
    tenant = TenantFactory()
    endpoint = EndpointFactory(tenant=tenant)
    client = visiting(tenant, enforce_csrf_checks=True)
    page = client.get(f"/webhooks/endpoints/{endpoint.public_id}/certificates")
    fields = fields_of(page.content.decode())
    file = SimpleUploadedFile("client.pem", b"this is no certificate")
    name = next(iter(re.findall(r'<input type="file" name="(\w+)"', page.content.decode())))
    answer = client.post(f"/webhooks/endpoints/{endpoint.public_id}/certificates", {**fields, name: file})
    assert answer.status_code == 422, "the file was read, and refused"
