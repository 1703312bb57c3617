"""Public Django signals. All are sent after the commit, with `send_robust`: a receiver that fails is logged and stops
nobody. The engine sends those about deliveries and endpoints from a thread of their own. What a person does is sent from that
person's thread.

Hand long work to a task. Slow receivers delay no delivery, but further signals: beyond 1,000 batches that wait, signals are not
sent, and those that wait are lost when the process is killed.

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
