"""Rotation of a secret, asked for in two places: of a webhook's, and of the account's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from webhooks_app.actions.secrets import rotate_secret
from webhooks_app.api.serializers.webhooks import RotationInputSerializer, RotationSerializer
from webhooks_app.models import Endpoint, Tenant


def rotate(owner: Endpoint | Tenant, asked: Any, actor: str) -> dict[str, Any]:
    """Replace the owner's secret as the request's body asks; returns the answer. Raises DRF's ValidationError."""
    serializer = RotationInputSerializer(data=asked)
    serializer.is_valid(raise_exception=True)
    hours = serializer.validated_data.get("overlap_hours")
    rotated = rotate_secret(
        owner,
        secret=serializer.validated_data.get("secret"),
        overlap=None if hours is None else timedelta(hours=hours),
        actor=actor,
    )
    shown = {"secret": rotated.text, "previous_expires_at": rotated.previous_expires_at}
    return dict(RotationSerializer(shown).data)
