"""Organisation and role of a user, for the pages and the webhooks of this sample app."""

from __future__ import annotations

from django.db.models import Q
from django.http import HttpRequest

from project.messaging.models import Organisation


def organisation_of(request: HttpRequest) -> Organisation | None:
    """Return the organisation of the logged-in user. WEBHOOKS["TENANT_OF_REQUEST"] names this function."""
    if not request.user.is_authenticated:
        return None
    return Organisation.objects.filter(Q(members=request.user) | Q(viewers=request.user)).distinct().first()


def role_of(request: HttpRequest) -> str:
    """Return the user's role for its webhooks. WEBHOOKS["ROLE_OF_REQUEST"] names this function."""
    organisation = organisation_of(request)
    if organisation is None or not request.user.is_authenticated:
        return "viewer"
    return "manager" if organisation.members.filter(pk=request.user.pk).exists() else "viewer"
