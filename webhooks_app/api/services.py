"""Actions on endpoints that the standard API and the dialects share."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from webhooks_app.api.access import Access
from webhooks_app.endpoints.secrets import RotatedSecret, rotate_secret
from webhooks_app.endpoints.service import change_endpoint, create_endpoint
from webhooks_app.endpoints.status import set_active
from webhooks_app.models import Endpoint, Tenant


def create(access: Access, *, active: bool = True, **values: Any) -> tuple[Endpoint, str]:
    """Call `create_endpoint`, and disable the endpoint at once unless it is to be active."""
    row, secret = create_endpoint(access.tenant, **values, actor=access.actor)
    if not active:
        set_active(row, on=False, actor=access.actor)
    return row, secret


def change(access: Access, row: Endpoint, *, active: bool | None = None, **values: Any) -> str | None:
    """Call `change_endpoint` if there are changes, and enable or disable the endpoint if asked. Return the text of a new
    secret."""
    secret = change_endpoint(row, **values, actor=access.actor)[1] if values else None
    if active is not None:
        set_active(row, on=active, actor=access.actor)
    return secret


def rotate(
    access: Access, owner: Endpoint | Tenant, *, secret: str | None = None, overlap_hours: float | None = None
) -> RotatedSecret:
    """Call `rotate_secret` with the overlap in hours; None: the value of the setting."""
    overlap = None if overlap_hours is None else timedelta(hours=overlap_hours)
    return rotate_secret(owner, secret=secret, overlap=overlap, actor=access.actor)
