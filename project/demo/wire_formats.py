"""The demo's wire formats: Standard Webhooks with retries over minutes instead of days, so that a demo ends."""

from dataclasses import replace
from datetime import timedelta

from webhooks_app.wire_formats import STANDARD, RetryPolicy

_DELAYS = tuple(timedelta(seconds=seconds) for seconds in (0.2, 0.4, 0.8, 1.6))

#: For endpoints that accept an event in the end. Without a breaker: each event is refused and retried on its own schedule.
DEMO = replace(
    STANDARD,
    name="demo",
    title="Standard Webhooks, retried within seconds (demo)",
    retry=RetryPolicy(delays=_DELAYS, breaker=False, disable_after=None),
)

#: For endpoints that never do. With a breaker: most pending deliveries expire without a request.
DOOMED = replace(
    STANDARD,
    name="demo_doomed",
    title="Standard Webhooks, given up within seconds (demo)",
    total_timeout=1.0,
    retry=RetryPolicy(
        delays=_DELAYS,
        breaker_threshold=3,
        backoff_first=timedelta(seconds=0.2),
        backoff_last=timedelta(seconds=1),
        max_age=timedelta(seconds=5),
        disable_after=None,
    ),
)
