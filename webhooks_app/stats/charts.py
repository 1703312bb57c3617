"""Charts of hourly statistics, with the same words and colours on every page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from webhooks_app.stats.hourly import OUTCOMES, HourlyCounts, by_day, requests_of
from webhooks_app.stats.svg import Chart, Series, figure, lines, number, spark_bars, stacked_bars

OUTCOME_LABELS = {
    "succeeded": gettext_lazy("succeeded"),
    "redirect": gettext_lazy("redirect (3xx)"),
    "client_error": gettext_lazy("client error (4xx)"),
    "server_error": gettext_lazy("server error (5xx)"),
    "timeout": gettext_lazy("timed out"),
    "unreachable": gettext_lazy("not reached"),
}
_DAY = 24


def requests_figure(hours: Sequence[HourlyCounts], *, key: str, title: str, daily: bool = False) -> SafeString:
    """Draw requests by hour (or the reader's day), stacked by outcome, with legend and table. `key` is unique in the page."""
    description = _in_a_sentence(hours)
    shown = by_day(hours) if daily else hours
    series = [Series(name, str(OUTCOME_LABELS[name]), [getattr(hour, name) for hour in shown]) for name in OUTCOMES]
    chart = Chart(key, title, description, _columns(shown, daily), series)
    return figure(stacked_bars(chart), chart)


def latency_figure(hours: Sequence[HourlyCounts], *, key: str, title: str, daily: bool = False) -> SafeString:
    """Draw the mean and p95 response time by hour (or the reader's day), in milliseconds."""
    kinds: list[tuple[str, str, Callable[[HourlyCounts], float | None]]] = [
        ("mean", _("mean"), lambda hour: hour.latency_mean_ms),
        ("p95", _("95 % within"), lambda hour: hour.latency_ms(0.95)),
    ]
    shown = by_day(hours) if daily else hours
    series = [Series(name, label, [read(hour) for hour in shown]) for name, label, read in kinds]
    description = _("The mean time of the answers, and the time within which 95 in 100 of them came.")
    chart = Chart(key, title, description, _columns(shown, daily), series, unit=" ms")
    return figure(lines(chart), chart)


def requests_sparkline(hours: Sequence[HourlyCounts]) -> SafeString:
    """Draw tiny bars of the requests by hour, with failed requests on top of successful ones."""
    series = [
        Series("succeeded", "", [hour.succeeded for hour in hours]),
        Series("failed", "", [hour.failed for hour in hours]),
    ]
    return spark_bars(series, title=_in_a_sentence(hours))


def _in_a_sentence(hours: Sequence[HourlyCounts]) -> str:
    return _("%(all)s requests in %(hours)s hours, %(failed)s of them failed.") % {
        "all": number(requests_of(hours)),
        "hours": len(hours),
        "failed": number(sum(hour.failed for hour in hours)),
    }


def _columns(hours: Sequence[HourlyCounts], daily: bool = False) -> list[str]:
    """Return column labels: the hour in the reader's time zone, with its day if there are several; or the day alone."""
    form = "j M" if daily else "H:i" if len(hours) <= _DAY else "j M H:i"
    return [date_format(timezone.localtime(hour.start), form) for hour in hours]
