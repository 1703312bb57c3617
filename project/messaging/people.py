"""Who works for whom: what the pages and the webhooks of this sample app both ask."""

from __future__ import annotations

from django.http import HttpRequest

from project.messaging.models import Organisation


def organisation_of(request: HttpRequest) -> Organisation | None:
    """The organisation that the logged-in person works for. WEBHOOKS["TENANT_OF_REQUEST"] names this function."""
    if not request.user.is_authenticated:
        return None
    return Organisation.objects.filter(members=request.user).first()
