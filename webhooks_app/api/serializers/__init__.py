"""Serializers of requests and responses. They check only types; values are checked when they are saved."""

from webhooks_app.core.retry import OutcomeKind
from webhooks_app.models import DeliveryStatus, EndpointStatus

_OUTCOMES = {
    OutcomeKind.SUCCEEDED: "The response had a 2xx status.",
    OutcomeKind.REDIRECT: "The response had a 3xx status. Redirects are not followed.",
    OutcomeKind.CLIENT_ERROR: "The response had a 4xx status.",
    OutcomeKind.SERVER_ERROR: "The response had a 5xx status, or one that does not exist.",
    OutcomeKind.TIMEOUT: "No response arrived in time.",
    OutcomeKind.REFUSED: "The connection failed: it was refused, or the server cannot be reached.",
    OutcomeKind.NAME_ERROR: "The host name cannot be resolved.",
    OutcomeKind.TLS_ERROR: "The certificate is invalid, or the TLS handshake failed.",
    OutcomeKind.PROTOCOL_ERROR: "The server sent no valid HTTP response.",
    OutcomeKind.ADDRESS_NOT_ALLOWED: "The URL leads to an address that is not allowed.",
    OutcomeKind.AUTHENTICATION_FAILED: "The token server of the webhook's authentication issued no token. Nothing was sent.",
    OutcomeKind.NOT_SENT: "The request was not sent because of a fault on our side. It is sent later.",
    OutcomeKind.EXPIRED: "The delivery was pending for too long and was not sent.",
    OutcomeKind.QUARANTINED: "The request may have crashed a process on our side. It is sent later, or the delivery failed.",
}
_DELIVERY_STATUSES = {
    DeliveryStatus.PENDING: "An attempt is to come.",
    DeliveryStatus.SUCCEEDED: "An attempt got a 2xx response.",
    DeliveryStatus.EXHAUSTED: "The delivery failed permanently: no more attempts are made.",
    DeliveryStatus.CANCELLED: "The delivery was cancelled.",
}
_WEBHOOK_STATUSES = {
    EndpointStatus.ACTIVE: "Events are sent.",
    EndpointStatus.PAUSED: "New events create deliveries, which stay pending.",
    EndpointStatus.DISABLED: "New events create no deliveries. Pending deliveries are kept.",
    EndpointStatus.DELETED: "The webhook was deleted.",
}

#: The choices of enumerations, each with its description. Each has a name of its own in the OpenAPI document.
OUTCOMES = [(kind.value, _OUTCOMES[kind]) for kind in OutcomeKind]
DELIVERY_STATUSES = [(status.value, _DELIVERY_STATUSES[status]) for status in DeliveryStatus]
WEBHOOK_STATUSES = [(status.value, _WEBHOOK_STATUSES[status]) for status in EndpointStatus]
