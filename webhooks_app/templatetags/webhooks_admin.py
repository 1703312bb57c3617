"""Template tags for the app's index in the admin: `{% load webhooks_admin %}`."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.translation import gettext_lazy as _

register = template.Library()

#: Heading → models, in the order in which support staff need them; internals come last.
GROUPS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (_("What was sent, to whom"), ("Delivery", "Event", "Endpoint", "Tenant", "Attempt")),
    (
        _("Access, set-up and who did what"),
        ("EventType", "ApiKey", "PortalLink", "Secret", "Notification", "AuditEntry"),
    ),
    (
        _("The works inside"),
        (
            "EndpointQueue",
            "Engine",
            "HourlyStat",
            "Subscription",
            "EventChannel",
            "EndpointNumber",
            "IdempotencyRecord",
        ),
    ),
)


@register.filter
def in_groups(app_list: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Split the app of Django's `app_list` into groups: the models that the reader may see, in our order.

    Models that the host added to the app come last.
    """
    groups = []
    for app in app_list:
        models = {model["object_name"]: model for model in app["models"]}
        for heading, names in GROUPS:
            shown = [models.pop(name) for name in names if name in models]
            groups.append({**app, "name": heading, "models": shown})
        groups.append({**app, "models": list(models.values())})
    return [group for group in groups if group["models"]]
