"""A delivery that waits for an endpoint which is failing, for `DeliveryFactory(**FAILING)`."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

NOW = timezone.now()
#: Far enough ahead that it does not come while the tests run; what is held back until then is so by our own back-off.
FAILED_AT = NOW + timedelta(hours=1)
SOON = FAILED_AT + timedelta(minutes=4)
FAILING = {
    "endpoint__queue__consecutive_failures": 7,
    "endpoint__queue__failing_since": NOW - timedelta(hours=2),
    "endpoint__queue__last_failure_at": FAILED_AT,
    "endpoint__queue__not_before": SOON,
}
