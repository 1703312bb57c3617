"""Responses of the APIs are kept by no cache, not even by one of the host's for all of its pages."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api import Program

pytestmark = [pytest.mark.django_db, pytest.mark.security]


@pytest.fixture(autouse=True)
def _cached(settings: Any) -> None:
    settings.MIDDLEWARE = [
        "django.middleware.cache.UpdateCacheMiddleware",
        *settings.MIDDLEWARE,
        "django.middleware.cache.FetchFromCacheMiddleware",
    ]


@pytest.mark.parametrize(
    "path", ["/api/v1/webhooks", "/api/v1/events", "/gateway/webhooks", "/msgflash/api/v1/webhooks"]
)
def test_a_response_to_one_key_goes_to_no_other(path: str) -> None:
    first = Program("one", root="")("get", path)
    assert first.status_code == 200
    assert {"no-store", "private"} <= set(first["Cache-Control"].split(", "))
    assert {"Authorization", "X-API-Key", "Cookie"} <= set(first["Vary"].split(", "))
    stranger = Program("two", root="")
    stranger.text = "wk_nonsense"
    assert stranger("get", path).status_code == 401
