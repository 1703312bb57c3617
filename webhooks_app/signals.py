"""Public Django signals. All are sent after the commit, with `send_robust`: a receiver that fails is logged and stops
nobody. What the engine finds out is sent from its database thread, what a person does from that person's.

Hand the work of a receiver to a task. The thread that runs it also writes results and renews the engine's heartbeat: while it
waits nothing is recorded, and a receiver slower than HEARTBEAT_SECONDS makes the engine be taken for dead; others then take
over its endpoints, and what was in flight is sent twice.

| signal | keyword arguments |
| --- | --- |
| `delivery_succeeded` | `delivery_id`, `event_id`, `endpoint_id`, `tenant_id` (UUIDs), `status` (int), `attempts` (int) |
| `delivery_exhausted` | the same, and `outcome` (an `OutcomeKind`'s value); `status` may be None |
| `endpoint_disabled` | `endpoint_id`, `tenant_id`, `reason` ("gone", "failures", "days" or a person's) |
| `endpoint_recovered` | `endpoint_id`, `tenant_id`, `failing_since` (aware datetime) |
| `event_quarantined` | `event_id`, `tenant_id`, `reason` |
"""

from django.dispatch import Signal

delivery_succeeded = Signal()
delivery_exhausted = Signal()
endpoint_disabled = Signal()
endpoint_recovered = Signal()
event_quarantined = Signal()
