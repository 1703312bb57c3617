"""The app's tables. The operations on them are in the packages named after them, and in `engine/`."""

from webhooks_app.models.api_key import ApiKey, IdempotencyRecord, PortalLink, Scope
from webhooks_app.models.audit import ActorKind, AuditEntry
from webhooks_app.models.delivery import Attempt, Delivery, DeliveryStatus
from webhooks_app.models.endpoint import Endpoint, EndpointStatus, Secret, Subscription
from webhooks_app.models.endpoint_number import EndpointNumber
from webhooks_app.models.event import TEST_SUBJECT, Event, EventChannel, EventType
from webhooks_app.models.notification import Notification, NotificationKind
from webhooks_app.models.queue import LATENCY_EDGES_MS, EndpointQueue, Engine, HourlyStat
from webhooks_app.models.tenant import Tenant
from webhooks_app.models.times import BLOCKED, NOT_HELD, NOTHING_DUE, database_now

__all__ = [
    "BLOCKED",
    "LATENCY_EDGES_MS",
    "NOTHING_DUE",
    "NOT_HELD",
    "TEST_SUBJECT",
    "ActorKind",
    "ApiKey",
    "Attempt",
    "AuditEntry",
    "Delivery",
    "DeliveryStatus",
    "Endpoint",
    "EndpointNumber",
    "EndpointQueue",
    "EndpointStatus",
    "Engine",
    "Event",
    "EventChannel",
    "EventType",
    "HourlyStat",
    "IdempotencyRecord",
    "Notification",
    "NotificationKind",
    "PortalLink",
    "Scope",
    "Secret",
    "Subscription",
    "Tenant",
    "database_now",
]
