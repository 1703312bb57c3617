"""Outgoing webhooks for any Django product.

The names exported here and the modules listed in docs/reference/public-api.md are public. Everything else may change in any
release. Importing this package needs no Django set-up: names that need Django are imported on first use.
"""

from typing import TYPE_CHECKING

from webhooks_app.core.catalogue import EventType, registry
from webhooks_app.exports import lazy_exports

if TYPE_CHECKING:
    from webhooks_app.deliveries.erase import ErasureReport, erase_event, erase_subject
    from webhooks_app.deliveries.explain import error_in_words
    from webhooks_app.deliveries.recover import recover
    from webhooks_app.deliveries.resend import cancel_delivery, resend, resend_event, send_now
    from webhooks_app.deliveries.test_event import send_test_event
    from webhooks_app.endpoints.secrets import rotate_secret
    from webhooks_app.endpoints.service import change_endpoint, create_endpoint
    from webhooks_app.endpoints.status import (
        delete_endpoint,
        disable_endpoint,
        enable_endpoint,
        pause_endpoint,
        resume_endpoint,
    )
    from webhooks_app.engine.progress import idle_for
    from webhooks_app.engine.run import run as run_engine
    from webhooks_app.events.emit import EventInput, aemit, emit, emit_many
    from webhooks_app.events.quarantine import release_all_quarantined, release_quarantined
    from webhooks_app.maintenance.erase_tenant import TenantErasure, erase_tenant
    from webhooks_app.maintenance.export import export_tenant
    from webhooks_app.tenants.api_keys import create_api_key, revoke_api_key
    from webhooks_app.tenants.identify import tenant_for
    from webhooks_app.tenants.plan import Plan
    from webhooks_app.tenants.portal import create_portal_link, end_portal_sessions
    from webhooks_app.tenants.service import change_tenant, create_tenant

__version__ = "0.1.0"

__all__ = [
    "ErasureReport",
    "EventInput",
    "EventType",
    "Plan",
    "TenantErasure",
    "__version__",
    "aemit",
    "cancel_delivery",
    "change_endpoint",
    "change_tenant",
    "create_api_key",
    "create_endpoint",
    "create_portal_link",
    "create_tenant",
    "delete_endpoint",
    "disable_endpoint",
    "emit",
    "emit_many",
    "enable_endpoint",
    "end_portal_sessions",
    "erase_event",
    "erase_subject",
    "erase_tenant",
    "error_in_words",
    "export_tenant",
    "idle_for",
    "pause_endpoint",
    "recover",
    "registry",
    "release_all_quarantined",
    "release_quarantined",
    "resend",
    "resend_event",
    "resume_endpoint",
    "revoke_api_key",
    "rotate_secret",
    "run_engine",
    "send_now",
    "send_test_event",
    "tenant_for",
]

#: Name → the module that defines it.
_EXPORTS = {
    "EventInput": "webhooks_app.events.emit",
    "aemit": "webhooks_app.events.emit",
    "emit": "webhooks_app.events.emit",
    "emit_many": "webhooks_app.events.emit",
    "release_all_quarantined": "webhooks_app.events.quarantine",
    "release_quarantined": "webhooks_app.events.quarantine",
    "create_endpoint": "webhooks_app.endpoints.service",
    "change_endpoint": "webhooks_app.endpoints.service",
    "pause_endpoint": "webhooks_app.endpoints.status",
    "resume_endpoint": "webhooks_app.endpoints.status",
    "disable_endpoint": "webhooks_app.endpoints.status",
    "enable_endpoint": "webhooks_app.endpoints.status",
    "delete_endpoint": "webhooks_app.endpoints.status",
    "rotate_secret": "webhooks_app.endpoints.secrets",
    "send_test_event": "webhooks_app.deliveries.test_event",
    "resend": "webhooks_app.deliveries.resend",
    "resend_event": "webhooks_app.deliveries.resend",
    "send_now": "webhooks_app.deliveries.resend",
    "cancel_delivery": "webhooks_app.deliveries.resend",
    "recover": "webhooks_app.deliveries.recover",
    "TenantErasure": "webhooks_app.maintenance.erase_tenant",
    "erase_tenant": "webhooks_app.maintenance.erase_tenant",
    "export_tenant": "webhooks_app.maintenance.export",
    "ErasureReport": "webhooks_app.deliveries.erase",
    "erase_event": "webhooks_app.deliveries.erase",
    "erase_subject": "webhooks_app.deliveries.erase",
    "error_in_words": "webhooks_app.deliveries.explain",
    "create_tenant": "webhooks_app.tenants.service",
    "change_tenant": "webhooks_app.tenants.service",
    "tenant_for": "webhooks_app.tenants.identify",
    "Plan": "webhooks_app.tenants.plan",
    "create_api_key": "webhooks_app.tenants.api_keys",
    "revoke_api_key": "webhooks_app.tenants.api_keys",
    "create_portal_link": "webhooks_app.tenants.portal",
    "end_portal_sessions": "webhooks_app.tenants.portal",
    "run_engine": "webhooks_app.engine.run:run",
    "idle_for": "webhooks_app.engine.progress",
}

__getattr__ = lazy_exports(__name__, _EXPORTS)
