"""People who are logged in to the host: whose webhooks they may manage, and what the audit trail calls them."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.module_loading import import_string

from webhooks_app.conf import settings
from webhooks_app.models import Tenant
from webhooks_app.pipeline.tenants import tenant_for
from webhooks_app.pipeline.transactions import pipeline_alias


def tenant_of_request(request: HttpRequest) -> Tenant | None:
    """The tenant that the host's TENANT_OF_REQUEST names for the request; None without such a function, or for a stranger."""
    path = settings().TENANT_OF_REQUEST
    owner = import_string(path)(request) if path else None
    return None if owner is None else tenant_for(owner, using=pipeline_alias())


def actor_of(user: Any) -> str:
    """`user:anna`"""
    return f"user:{user.get_username()}"
