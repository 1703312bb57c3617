"""The navigation of the pages: URL name and title, in order. Each page names its entry."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

ENDPOINTS = "webhooks_app:home"
DELIVERIES = "webhooks_app:deliveries"
EVENT_TYPES = "webhooks_app:event_types"
PLAYGROUND = "webhooks_app:playground"
KEYS = "webhooks_app:keys"
AUDIT_LOG = "webhooks_app:audit_log"
VERIFY_SIGNATURES = "webhooks_app:verify_signatures"

SECTIONS = (
    (ENDPOINTS, _("Endpoints")),
    (DELIVERIES, _("Deliveries")),
    (EVENT_TYPES, _("Event types")),
    (PLAYGROUND, _("Playground")),
    (VERIFY_SIGNATURES, _("Verify signatures")),
    (KEYS, _("API keys")),
    (AUDIT_LOG, _("Audit log")),
)
