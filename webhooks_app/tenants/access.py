"""People who are logged in to the host: whose webhooks they may see, what they may do, and what the audit trail calls them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from django.http import HttpRequest
from django.utils.module_loading import import_string

from webhooks_app.conf import settings
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.models import ActorKind, Tenant
from webhooks_app.tenants.identify import tenant_for


class Role(StrEnum):
    """What somebody may do within a tenant."""

    #: Look at everything, secrets excepted.
    VIEWER = "viewer"
    #: Change, send again, rotate and delete, too.
    MANAGER = "manager"


def tenant_of_request(request: HttpRequest) -> Tenant | None:
    """The tenant that the host's TENANT_OF_REQUEST names for the request; None without such a function, or for a stranger."""
    path = settings().TENANT_OF_REQUEST
    owner = import_string(path)(request) if path else None
    return None if owner is None else tenant_for(owner)


def role_of_request(request: HttpRequest) -> Role:
    """The role that the host's ROLE_OF_REQUEST gives; without such a function everybody manages.

    Raises ConfigurationError where it gives something that is no role: a mistake must not make anybody a manager.
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
    """`user:anna`"""
    return f"{ActorKind.USER}:{user.get_username()}"


def staff_actor_of(user: Any) -> str:
    """`staff:anna`: somebody of the host's own, whose name the tenant's people do not get to see."""
    return f"{ActorKind.STAFF}:{user.get_username()}"
