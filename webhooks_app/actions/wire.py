"""Which wire formats a tenant's receivers see."""

from __future__ import annotations

from webhooks_app.core.profile import Profile
from webhooks_app.db import pipeline_alias
from webhooks_app.engine.callback_urls import profile_name
from webhooks_app.exceptions import NotFound
from webhooks_app.models import Endpoint, Tenant
from webhooks_app.profiles import get_profile, profile_names


def profile_of(tenant: Tenant) -> Profile:
    """That of the tenant's new endpoints."""
    return get_profile(profile_name(tenant))


def profiles_of(tenant: Tenant) -> list[Profile]:
    """That of new endpoints first, then those of endpoints that there are already."""
    endpoints = Endpoint.objects.using(pipeline_alias()).visible().filter(tenant=tenant)
    used = set(endpoints.order_by().values_list("profile", flat=True).distinct())
    first = profile_name(tenant)
    known = [name for name in profile_names() if name in used and name != first]
    return [get_profile(name) for name in (first, *known)]


def profile_among(profiles: list[Profile], name: str) -> Profile:
    """The one of this name, or the first where none is named. Raises NotFound."""
    found = next((profile for profile in profiles if not name or profile.name == name), None)
    if found is None:
        raise NotFound()
    return found
