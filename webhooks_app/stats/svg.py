"""Charts as SVG text, drawn on the server. Pure functions: values in, markup out.

The markup has no scripts and no inline styles, so that it works with a strict Content-Security-Policy: colours come from the
classes `chart-NAME` and `currentColor` (see `static/webhooks_app/charts.css`). Each chart has a title and a description for
screen readers, and `figure` adds a legend and the same numbers as a table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.formats import get_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

#: The drawing's own units; style sheets set its size.
_WIDTH, _HEIGHT = 720, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 88, 8, 14, 34
_PLOT_WIDTH, _PLOT_HEIGHT = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
_GAP = 0.18  # of a column's width, between columns
_LABELS = 6  # under the columns, about
_SPARK_WIDTH, _SPARK_HEIGHT = 96, 24
_SPARK_LEAST = 1.5  # of a bar's height; two such are stacked within what is left free above
_NICE = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Series:
    """One kind of value.

    `name` forms the CSS class `chart-NAME`, `label` is for readers. `values` has one number per column, None if there is
    none.
    """

    name: str
    label: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Chart:
    """The data of a chart. `key` is unique in the page, as ids contain it. `unit` is written after values."""

    key: str
    title: str
    description: str
    columns: Sequence[str]
    series: Sequence[Series]
    unit: str = ""


def stacked_bars(chart: Chart) -> SafeString:
    """Draw one bar per column, with the series stacked in their order, the first at the bottom."""
    totals = (sum(one.values[column] or 0 for one in chart.series) for column in range(len(chart.columns)))
    top = _nice_top(max(totals, default=0))
    step = _PLOT_WIDTH / max(len(chart.columns), 1)
    bars = []
    for column, name in enumerate(chart.columns):
        below = 0.0
        for one in chart.series:
            value = one.values[column] or 0
            if value <= 0:
                continue
            low, high = _y(below, top), _y(below + value, top)
            x, width = _LEFT + step * (column + _GAP / 2), step * (1 - _GAP)
            description = f"{name}, {one.label}: {number(value)}{chart.unit}"
            bars.append((one.name, _n(x), _n(high), _n(width), _n(low - high), description))
            below += value
    drawn = format_html_join(
        "", '<rect class="chart-{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>', bars
    )
    return _drawing(chart, top, drawn)


def lines(chart: Chart) -> SafeString:
    """Draw one line per series over the columns; the area below the first is filled. A missing value interrupts its line."""
    known = [value for one in chart.series for value in one.values if value is not None]
    top = _nice_top(max(known, default=0))
    step = _PLOT_WIDTH / max(len(chart.columns), 1)
    parts = []
    for place, one in enumerate(chart.series):
        for run in _runs(one.values):
            points = [(_LEFT + step * (column + 0.5), _y(value, top)) for column, value in run]
            if len(points) == 1:
                [(x, y)] = points
                parts.append(format_html('<circle class="chart-{}" cx="{}" cy="{}" r="3"/>', one.name, _n(x), _n(y)))
                continue
            if place == 0:
                parts.append(format_html('<path class="chart-{} chart-fill" d="{}"/>', one.name, _area(points)))
            parts.append(format_html('<path class="chart-{} chart-line" d="{}"/>', one.name, _path(points)))
    return _drawing(chart, top, format_html_join("", "{}", ((part,) for part in parts)))


def spark_bars(series: Sequence[Series], *, title: str) -> SafeString:
    """Draw stacked bars as high as a line of text, without axes, the first series at the bottom.

    `title` says in words what they show. Even a very small value is visible.
    """
    stacks = list(zip(*([value or 0 for value in one.values] for one in series), strict=True))
    top = max((sum(stack) for stack in stacks), default=0) or 1
    step = _SPARK_WIDTH / max(len(stacks), 1)
    bars = []
    for column, stack in enumerate(stacks):
        floor = float(_SPARK_HEIGHT - 1)
        for one, value in zip(series, stack, strict=True):
            if value <= 0:
                continue
            height = max((_SPARK_HEIGHT - 4) * value / top, _SPARK_LEAST)
            floor -= height
            bars.append((one.name, _n(step * (column + _GAP / 2)), _n(floor), _n(step * (1 - _GAP)), _n(height)))
    return format_html(
        '<svg class="chart-spark" viewBox="0 0 {} {}" role="img" aria-label="{}"><title>{}</title>'
        '<path class="chart-grid" d="M0 {}H{}"/>{}</svg>',
        _SPARK_WIDTH, _SPARK_HEIGHT, title, title, _SPARK_HEIGHT - 0.5, _SPARK_WIDTH,
        format_html_join("", '<rect class="chart-{}" x="{}" y="{}" width="{}" height="{}"/>', bars),
    )  # fmt: skip


def figure(drawing: SafeString, chart: Chart) -> SafeString:
    """Return the drawing with its title, its legend, and a collapsed table of its numbers."""
    return format_html(
        '<figure class="chart-figure"><figcaption>{}</figcaption>{}{}<details><summary>{}</summary>{}</details></figure>',
        chart.title, drawing, legend(chart), _("Show as a table"), table(chart),
    )  # fmt: skip


def legend(chart: Chart) -> SafeString:
    """Return the legend of the colours."""
    items = format_html_join(
        "",
        '<li><svg class="chart-key" viewBox="0 0 10 10" aria-hidden="true"><rect class="chart-{}" width="10" height="10"/>'
        "</svg> {}</li>",
        ((one.name, one.label) for one in chart.series),
    )
    return format_html('<ul class="chart-legend">{}</ul>', items)


def table(chart: Chart) -> SafeString:
    """Return the same numbers as a table, with a row for each column of the chart. `tabindex` lets keyboards scroll it."""
    heads = format_html_join("", '<th scope="col">{}</th>', ((one.label,) for one in chart.series))
    rows = format_html_join("", '<tr><th scope="row">{}</th>{}</tr>', _table_rows(chart))
    return format_html(
        '<div class="chart-table" tabindex="0" role="region" aria-label="{}"><table><thead><tr><th scope="col">{}</th>{}'
        "</tr></thead><tbody>{}</tbody></table></div>",
        chart.title, _("Time"), heads, rows,
    )  # fmt: skip


def number(value: float) -> str:
    """Return a short number: 950, 1.2k, 3.4M; with one decimal below ten if it has one, and the reader's decimal separator."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            divisor = 1e3 if letter == "k" else size
            return _decimal(value / divisor) + letter
    return _decimal(value) if abs(value) < 10 else f"{value:.0f}"


def _decimal(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0").replace(".", get_format("DECIMAL_SEPARATOR"))


def _table_rows(chart: Chart) -> list[tuple[str, SafeString]]:
    def cells(column: int) -> SafeString:
        values = (one.values[column] for one in chart.series)
        shown = ("–" if value is None else f"{number(value)}{chart.unit}" for value in values)
        return format_html_join("", "<td>{}</td>", ((text,) for text in shown))

    return [(name, cells(column)) for column, name in enumerate(chart.columns)]


def _drawing(chart: Chart, top: float, content: SafeString) -> SafeString:
    title, description = f"{chart.key}-title", f"{chart.key}-description"
    return format_html(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-labelledby="{} {}"><title id="{}">{}</title>'
        '<desc id="{}">{}</desc>{}{}{}</svg>',
        _WIDTH, _HEIGHT, title, description, title, chart.title, description, chart.description,
        _grid(top, chart.unit), content or _nothing(), _column_labels(chart),
    )  # fmt: skip


def _grid(top: float, unit: str) -> SafeString:
    levels = [(_LEFT, _n(_y(value, top)), _WIDTH - _RIGHT, number(value) + unit) for value in (0, top / 2, top)]
    return format_html_join(
        "",
        '<path class="chart-grid" d="M{0} {1}H{2}"/><text class="chart-axis" x="{4}" y="{1}" dy="4" text-anchor="end">{3}</text>',
        ((*level, _LEFT - 8) for level in levels),
    )


def _column_labels(chart: Chart) -> SafeString:
    step = _PLOT_WIDTH / max(len(chart.columns), 1)
    every = max(math.ceil(len(chart.columns) / _LABELS), 1)
    return format_html_join(
        "",
        '<text class="chart-axis" x="{}" y="{}" text-anchor="middle">{}</text>',
        (
            (_n(_LEFT + step * (place + 0.5)), _HEIGHT - 10, name)
            for place, name in enumerate(chart.columns)
            if place % every == every // 2
        ),
    )


def _nothing() -> SafeString:
    return format_html(
        '<text class="chart-axis" x="{}" y="{}" text-anchor="middle">{}</text>',
        _LEFT + _PLOT_WIDTH // 2, _TOP + _PLOT_HEIGHT // 2, _("Nothing in this time"),
    )  # fmt: skip


def _nice_top(highest: float) -> float:
    """Return the end of the axis: a round number at or above the highest value."""
    if highest <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(highest))
    return next(step * size for step in _NICE if step * size >= highest * (1 - 1e-9))


def _runs(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """Return the values with their columns, in runs without a gap."""
    runs: list[list[tuple[int, float]]] = []
    for column, value in enumerate(values):
        if value is None:
            continue
        if not runs or runs[-1][-1][0] != column - 1:
            runs.append([])
        runs[-1].append((column, value))
    return runs


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points) if points else ""


def _area(points: Sequence[tuple[float, float]]) -> str:
    floor = _TOP + _PLOT_HEIGHT
    return f"{_path(points)}L{_n(points[-1][0])} {floor}L{_n(points[0][0])} {floor}Z"


def _y(value: float, top: float) -> float:
    return _TOP + _PLOT_HEIGHT * (1 - value / top)


def _n(value: float) -> str:
    """Return a short coordinate, with a decimal point in every language."""
    return f"{value:.1f}".removesuffix(".0")
