"""Public Django signals. All are sent after the commit, with `send_robust`: the exception of a receiver is logged, and the
other receivers still run. The engine sends its signals about deliveries and endpoints from a separate thread. Signals about
user actions are sent from the thread of the request.

Use a task for long work. Slow receivers do not delay deliveries, but further signals: if 10,000 signals are waiting, further
signals are not sent, and waiting signals are lost when the process is killed.

| signal | keyword arguments |
| --- | --- |
| `delivery_succeeded` | `delivery_id`, `event_id`, `endpoint_id`, `tenant_id` (UUIDs), `status` (int), `attempts` (int) |
| `delivery_exhausted` | the same, and `outcome` (an `OutcomeKind`'s value); `status` may be None |
| `endpoint_disabled` | `endpoint_id`, `tenant_id`, `reason` ("gone" or another rule's, "failures", "days" or a person's) |
| `endpoint_recovered` | `endpoint_id`, `tenant_id`, `failing_since` (aware datetime) |
| `event_quarantined` | `event_id`, `tenant_id`, `reason` |
"""

from django.dispatch import Signal

__all__ = [
    "delivery_exhausted",
    "delivery_succeeded",
    "endpoint_disabled",
    "endpoint_recovered",
    "event_quarantined",
]

delivery_succeeded = Signal()
delivery_exhausted = Signal()
endpoint_disabled = Signal()
endpoint_recovered = Signal()
event_quarantined = Signal()
