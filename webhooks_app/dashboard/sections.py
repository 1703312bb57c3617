"""The navigation of the pages: URL name and title, in order. Each page names its entry."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

ENDPOINTS = "webhooks_app:home"
DELIVERIES = "webhooks_app:deliveries"
EVENT_TYPES = "webhooks_app:event_types"
PLAYGROUND = "webhooks_app:playground"
KEYS = "webhooks_app:keys"
ACTIVITY = "webhooks_app:activity"
VERIFYING = "webhooks_app:verifying"

SECTIONS = (
    (ENDPOINTS, _("Endpoints")),
    (DELIVERIES, _("Deliveries")),
    (EVENT_TYPES, _("Event types")),
    (PLAYGROUND, _("Playground")),
    (VERIFYING, _("Verifying")),
    (KEYS, _("API keys")),
    (ACTIVITY, _("Activity")),
)
