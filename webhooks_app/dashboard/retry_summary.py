"""The retry policy of a wire format, in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from webhooks_app.wire_formats.base import WireFormat


@dataclass(frozen=True, slots=True)
class Try:
    number: int
    #: Time since the previous request; empty for the first.
    wait: str
    #: Time since the first request.
    after: str


def retry_schedule(wire_format: WireFormat) -> list[Try]:
    """Return the requests of one delivery if none of them succeeds."""
    total = timedelta()
    found = [Try(1, "", "")]
    for number, delay in enumerate(wire_format.retry.delays, start=2):
        total += delay
        found.append(Try(number, format_duration(delay), format_duration(total)))
    return found


def format_duration(length: timedelta) -> str:
    """Return the duration in its two largest units: `2 hours 5 minutes`."""
    seconds = round(length.total_seconds())
    if seconds < 1:
        return _("no time")
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    words = [
        (days, ngettext("%(n)d day", "%(n)d days", days)),
        (hours, ngettext("%(n)d hour", "%(n)d hours", hours)),
        (minutes, ngettext("%(n)d minute", "%(n)d minutes", minutes)),
        (left, ngettext("%(n)d second", "%(n)d seconds", left)),
    ]
    first = next(index for index, (number, _words) in enumerate(words) if number)
    return " ".join(text % {"n": number} for number, text in words[first : first + 2] if number)


def retry_rules(wire_format: WireFormat, email: str = "") -> list[str]:
    """Return the rules besides the schedule. `email`: the tenant's address for notifications; empty if there is none."""
    policy = wire_format.retry
    said = []
    if policy.jitter:
        said.append(
            _("Each wait is up to %(percent)d %% shorter or longer, so that not all come at once.")
            % {"percent": round(policy.jitter * 100)}
        )
    cap = {"time": format_duration(policy.retry_after_cap)}
    said += [_(rule.words) % cap for rule in policy.rules if rule.words]
    if policy.disable_after is not None:
        said.append(
            _("An endpoint that has failed for %(time)s without one success is switched off.")
            % {"time": format_duration(policy.disable_after)}
        )
    if policy.disable_after_failures is not None:
        number = policy.disable_after_failures
        said.append(
            ngettext(
                "After %(n)d failure in a row the endpoint is switched off.",
                "After %(n)d failures in a row the endpoint is switched off.",
                number,
            )
            % {"n": number}
        )
    if email:
        said.append(_("When that happens, we write to %(email)s.") % {"email": email})
    return said
