"""Wire formats of the fault cases."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta

from webhooks_app.core.envelope import standard_envelope
from webhooks_app.core.message import Message
from webhooks_app.core.retry import GONE, RETRY_AFTER, RetryPolicy
from webhooks_app.wire_formats import standard

#: Three seconds for a request; retries after 1, 1, 2, 2, 4 … seconds; a failure holds nothing else back.
QUICK = replace(
    standard.WIRE_FORMAT,
    name="quick",
    connect_timeout=2.0,
    total_timeout=3.0,
    retry=RetryPolicy(
        delays=tuple(timedelta(seconds=seconds) for seconds in (1, 1, 2, 2, 4, 4, 4, 4, 4)),
        jitter=0.0,
        breaker=False,
        rules=(RETRY_AFTER, GONE),
    ),
)


def explode(message: Message) -> bytes:
    """End the process for an event that asks for it, as a fault in a C library would."""
    if '"bomb"' in message.data:
        os._exit(1)
    return standard_envelope(message)


BOMB = replace(QUICK, name="bomb", envelope=explode)
