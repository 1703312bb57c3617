"""People who visit the customers' pages. A user of the tests is named after the tenant and the role: `acme/viewer`."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.test import Client

from webhooks_app.models import Tenant
from webhooks_app.tenants.access import Role

#: For `configure`: the host's answers about people.
VISITORS = {
    "TENANT_OF_REQUEST": "tests.visitors.tenant_of_user",
    "ROLE_OF_REQUEST": "tests.visitors.role_of_user",
}


def tenant_of_user(request: HttpRequest) -> str | None:
    uid, _, role = request.user.get_username().rpartition("/")
    return uid if role in set(Role) else None


def role_of_user(request: HttpRequest) -> str:
    return request.user.get_username().rpartition("/")[2]


def visiting(tenant: Tenant, role: Role = Role.MANAGER, **options: Any) -> Client:
    """A browser in which somebody of this tenant is logged in. Needs VISITORS configured."""
    client = Client(**options)
    user, _ = get_user_model().objects.get_or_create(username=f"{tenant.uid}/{role}")
    client.force_login(user)
    return client


def seen(answer: HttpResponse) -> str:
    """A page as it reads: without entities, and without marks of where a line may end."""
    return unescape(answer.content.decode().replace("<wbr>", ""))


@pytest.fixture
def visitors(configure: Any) -> None:
    """Take it with `usefixtures` before anybody visits."""
    configure(**VISITORS)
