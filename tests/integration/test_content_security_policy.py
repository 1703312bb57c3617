"""Which pages may load what: nothing runs that is not a file of this site, wherever it stands."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.api import Program

pytestmark = pytest.mark.django_db

INLINE_SCRIPT = re.compile(r"<script(?![^>]*(?:\bsrc=|application/json))|<[^>]* on[a-z]+=|javascript:", re.IGNORECASE)


def policy(answer: Any) -> dict[str, str]:
    parts = (part.strip().partition(" ") for part in answer.headers["Content-Security-Policy"].split(";"))
    return {name: value for name, _, value in parts}


def staff() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.mark.parametrize(
    "path", ["/admin/", "/admin/webhooks_app/endpoint/", "/login/", "/", "/api/docs", "/api/docs?script="]
)
def test_pages_of_the_project(path: str) -> None:
    answer = staff().get(path, follow=True)
    assert answer.status_code == 200
    found = policy(answer)
    assert (found["default-src"], found["frame-ancestors"]) == ("'self'", "'none'")
    assert "script-src" not in found
    assert found["object-src"] == found["base-uri"] == "'none'"
    assert not INLINE_SCRIPT.search(answer.content.decode()) or "javascript" in answer["Content-Type"]


def test_data_of_the_api() -> None:
    answer = Program()("get", "/webhooks")
    assert answer.status_code == 200
    assert policy(answer) == {"default-src": "'none'", "frame-ancestors": "'none'"}


@pytest.mark.parametrize("path", ["/api/v1/webhooks", "/api/v1/nothing", "/api/v1/events"])
def test_browsable_pages_of_the_api(path: str) -> None:
    answer = staff().get(path, HTTP_ACCEPT="text/html")
    found = policy(answer)
    if "html" in answer["Content-Type"]:
        assert (found["default-src"], found["frame-ancestors"]) == ("'self'", "'none'")
        assert not INLINE_SCRIPT.search(answer.content.decode())
    else:
        assert found["default-src"] == "'none'"


def test_refusals_of_the_api() -> None:
    for answer in (
        Client().get("/api/v1/webhooks"),
        Client().post("/api/v1/events", "{", content_type="application/json"),
    ):
        assert answer.status_code in (401, 403)
        assert policy(answer)["default-src"] == "'none'"
