"""The wire formats of a tenant's endpoints."""

from __future__ import annotations

from webhooks_app.exceptions import NotFound
from webhooks_app.models import Endpoint, Tenant
from webhooks_app.wire_formats import get_wire_format, wire_format_names
from webhooks_app.wire_formats.base import WireFormat


def wire_format_of(tenant: Tenant) -> WireFormat:
    """Return the wire format of the tenant's new endpoints."""
    return get_wire_format(tenant.wire_format_name)


def wire_formats_of(tenant: Tenant) -> list[WireFormat]:
    """Return the wire format of new endpoints first, then those of existing endpoints."""
    endpoints = Endpoint.objects.visible().filter(tenant=tenant)
    used = set(endpoints.order_by().values_list("wire_format", flat=True).distinct())
    first = tenant.wire_format_name
    known = [name for name in wire_format_names() if name in used and name != first]
    return [get_wire_format(name) for name in (first, *known)]


def wire_format_among(wire_formats: list[WireFormat], name: str) -> WireFormat:
    """Return the wire format with this name, or the first if no name is given. Raises NotFound."""
    found = next((wire_format for wire_format in wire_formats if not name or wire_format.name == name), None)
    if found is None:
        raise NotFound()
    return found
