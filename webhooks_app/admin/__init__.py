"""The staff pages in Django's admin. They contain no logic of their own: they read, call services, and show the results.

A host removes a page with `admin.site.unregister(Delivery)`, and can register its own subclass instead.
"""

from webhooks_app.admin.api_keys import ApiKeyAdmin, PortalLinkAdmin, StoredReplyAdmin
from webhooks_app.admin.attempts import AttemptAdmin
from webhooks_app.admin.audit import AuditEntryAdmin, NotificationAdmin
from webhooks_app.admin.deliveries import DeliveryAdmin
from webhooks_app.admin.endpoints import EndpointAdmin, EndpointNumberAdmin, SecretAdmin, SubscriptionAdmin
from webhooks_app.admin.events import EventAdmin, EventChannelAdmin, EventTypeAdmin
from webhooks_app.admin.queues import EndpointQueueAdmin, EngineAdmin, HourlyStatAdmin
from webhooks_app.admin.tenants import TenantAdmin

__all__ = [
    "ApiKeyAdmin",
    "AttemptAdmin",
    "AuditEntryAdmin",
    "DeliveryAdmin",
    "EndpointAdmin",
    "EndpointNumberAdmin",
    "EndpointQueueAdmin",
    "EngineAdmin",
    "EventAdmin",
    "EventChannelAdmin",
    "EventTypeAdmin",
    "HourlyStatAdmin",
    "NotificationAdmin",
    "PortalLinkAdmin",
    "SecretAdmin",
    "StoredReplyAdmin",
    "SubscriptionAdmin",
    "TenantAdmin",
]
