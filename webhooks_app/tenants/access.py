"""Logged-in users of the host: whose webhooks they may see, what they may do, and their name in the audit log."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.module_loading import import_string

from webhooks_app.conf import settings
from webhooks_app.core.role import Role
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.models import ActorKind, Tenant
from webhooks_app.tenants.identify import tenant_for


def tenant_of_request(request: HttpRequest) -> Tenant | None:
    """Return the tenant from the host's TENANT_OF_REQUEST; None without such a function, or if the user has no tenant."""
    path = settings().TENANT_OF_REQUEST
    owner = import_string(path)(request) if path else None
    return None if owner is None else tenant_for(owner)


def role_of_request(request: HttpRequest) -> Role:
    """Return the role from the host's ROLE_OF_REQUEST; without such a function every user is a manager.

    Raises ConfigurationError if it returns anything else than a role: a mistake must not make a user a manager.
    """
    path = settings().ROLE_OF_REQUEST
    given = import_string(path)(request) if path else Role.MANAGER
    try:
        return Role(given)
    except ValueError as error:
        raise ConfigurationError(
            f"{path} must give one of {', '.join(Role)}, not a {type(given).__name__}.", field="ROLE_OF_REQUEST"
        ) from error


def actor_of(user: Any) -> str:
    """Return the actor name of a user: `user:anna`."""
    return f"{ActorKind.USER}:{user.get_username()}"


def staff_actor_of(user: Any) -> str:
    """Return the actor name of the host's staff: `staff:anna`. The tenant's users do not see this name."""
    return f"{ActorKind.STAFF}:{user.get_username()}"
