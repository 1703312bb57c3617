"""The roles of users on the pages."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a user may do within a tenant."""

    #: View everything except secrets.
    VIEWER = "viewer"
    #: Also change, resend, rotate and delete.
    MANAGER = "manager"
