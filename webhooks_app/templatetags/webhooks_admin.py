"""For the admin's page of the app: `{% load webhooks_admin %}`."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.translation import gettext_lazy as _

register = template.Library()

#: Heading → models, in the order in which support asks for them; what only explains the machine comes last.
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
    """The app of Django's `app_list` as several, for its template: the models that the reader may see, in our order. A host's
    own models of the app come after them all."""
    groups = []
    for app in app_list:
        models = {model["object_name"]: model for model in app["models"]}
        for heading, names in GROUPS:
            shown = [models.pop(name) for name in names if name in models]
            groups.append({**app, "name": heading, "models": shown})
        groups.append({**app, "models": list(models.values())})
    return [group for group in groups if group["models"]]
