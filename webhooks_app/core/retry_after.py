"""Parse Retry-After headers. Pure: the time is passed in."""

from __future__ import annotations

import email.utils
from datetime import UTC, datetime

from webhooks_app.core.validation import LONGEST

LONGEST_RETRY_AFTER = LONGEST.total_seconds()
#: An HTTP date has 29 characters; the other forms that mail programs write are not much longer.
_LONGEST_DATE = 64


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Return the delay of a Retry-After header in seconds, from 0 to 366 days; None if the header is invalid.

    The value is a number of seconds or a date. Never raises, for any value.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text.lstrip("0")[:12] or "0"), LONGEST_RETRY_AFTER)
    if not 0 < len(text) <= _LONGEST_DATE:
        return None
    try:
        moment = email.utils.parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - now).total_seconds()
    except Exception:  # noqa: BLE001 - the standard library raises many kinds of errors here, OverflowError among them
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)
