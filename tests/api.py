"""A customer's program that speaks to the REST API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.http import HttpResponse
from django.test import Client

from webhooks_app.models import Scope, Tenant
from webhooks_app.tenants.api_keys import create_api_key

ROOT = "/api/v1"


class Program:
    """Holds one key. Paths are relative to the standard API; what is sent and what comes back is JSON."""

    def __init__(self, tenant: Any = "acme", scopes: Any = tuple(Scope.values), root: str = ROOT) -> None:
        self.key, self.text = create_api_key(tenant, scopes=scopes)
        self.tenant: Tenant = self.key.tenant
        self.root = root
        self.client = Client(raise_request_exception=False)

    def __call__(self, method: str, path: str, data: Any = None, **headers: str) -> HttpResponse:
        body = {} if data is None or method == "get" else {"data": json.dumps(data), "content_type": "application/json"}
        given = {"X-API-Key": self.text, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return getattr(self.client, method)(self.root + path, **body, headers=given)  # type: ignore[no-any-return]

    def get(self, path: str, **headers: str) -> Any:
        """The body of an answer that must be 200."""
        response = self("get", path, **headers)
        assert response.status_code == 200, response.content
        return response.json()

    def post(self, path: str, data: Any = None, status: int = 201, **headers: str) -> Any:
        """The body of an answer that must have this status."""
        response = self("post", path, {} if data is None else data, **headers)
        assert response.status_code == status, response.content
        return response.json()

    def refused(self, method: str, path: str, data: Any = None, **headers: str) -> tuple[int, str, str | None]:
        """Status, code and field of a problem."""
        response = self(method, path, data, **headers)
        assert response["Content-Type"] == "application/problem+json", response.content
        problem = response.json()
        assert problem["status"] == response.status_code >= 400
        assert problem["detail"]
        return response.status_code, problem["code"], problem.get("field")


@pytest.fixture(autouse=True)
def no_counts() -> Iterator[None]:
    """What other tests have asked counts for no rate. A test file takes it by assignment: `no_counts = api.no_counts`."""
    cache.clear()
    yield
    cache.clear()
