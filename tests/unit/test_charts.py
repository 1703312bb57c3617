"""Charts: what is drawn says the numbers, and nothing in it breaks a page or a strict policy."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest
from django.utils import translation

from webhooks_app.stats.svg import Chart, Series, figure, lines, number, spark_bars, stacked_bars, table

SVG = re.compile(r"<svg.*?</svg>", re.DOTALL)
HOSTILE = '"><script>alert(1)</script>'


def chart(*series: Series, columns: tuple[str, ...] = ("10:00", "11:00")) -> Chart:
    return Chart("requests", "Requests", "Two hours.", columns, series)


def drawn(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def rects(svg: str) -> list[dict[str, str]]:
    return [one.attrib for one in drawn(svg).iter("rect")]


def test_bars_stand_on_each_other_and_are_as_high_as_their_values():
    good, bad = rects(stacked_bars(chart(Series("succeeded", "good", [30, 0]), Series("timeout", "late", [10, None]))))
    assert float(good["height"]) == pytest.approx(3 * float(bad["height"]), abs=0.3)
    assert float(bad["y"]) + float(bad["height"]) == pytest.approx(float(good["y"]), abs=0.11)
    assert (good["class"], bad["class"]) == ("chart-succeeded", "chart-timeout")


def test_each_bar_tells_what_it_is():
    svg = stacked_bars(chart(Series("succeeded", "good", [30, 7])))
    assert [one.text for one in drawn(svg).iter("title")] == ["Requests", "10:00, good: 30", "11:00, good: 7"]


def test_a_drawing_is_named_and_described_for_those_who_hear_it():
    svg = drawn(lines(chart(Series("mean", "mean", [1.0, 2.0]))))
    named = [one.text for key in svg.attrib["aria-labelledby"].split() for one in svg.iter() if one.get("id") == key]
    assert (svg.attrib["role"], named) == ("img", ["Requests", "Two hours."])


def test_a_missing_value_breaks_the_line_and_is_not_drawn_as_zero():
    svg = drawn(lines(chart(Series("mean", "mean", [1, 2, None, 4]), columns=("1", "2", "3", "4"))))
    strokes = [one.attrib["d"] for one in svg.iter("path") if "chart-line" in one.attrib["class"]]
    assert [stroke.count("L") for stroke in strokes] == [1]
    assert len(list(svg.iter("circle"))) == 1, "the lone value is a point"


@pytest.mark.parametrize(
    ("draw", "values"),
    [(stacked_bars, []), (stacked_bars, [0, 0]), (stacked_bars, [None, 0]), (lines, []), (lines, [None])],
)
def test_nothing_to_draw_is_said_in_words(draw, values):
    columns = ("10:00", "11:00")[: len(values)]
    assert "Nothing in this time" in draw(chart(Series("succeeded", "good", values), columns=columns))


@pytest.mark.parametrize("values", [[], [5], [0, 0, 0], [1, 5, 2]])
def test_tiny_bars_are_drawn_from_any_number_of_values(values):
    svg = drawn(spark_bars([Series("succeeded", "", values)], title="6 requests"))
    assert svg.attrib["aria-label"] == "6 requests"
    assert len(list(svg.iter("rect"))) == sum(value > 0 for value in values)


def test_tiny_bars_show_the_one_failure_among_many_and_stay_within_the_drawing():
    svg = drawn(spark_bars([Series("succeeded", "", [0, 999]), Series("failed", "", [7, 1])], title=""))
    rects = [(one.attrib["class"], float(one.attrib["y"]), float(one.attrib["height"])) for one in svg.iter("rect")]
    assert [name for name, _, _ in rects] == ["chart-failed", "chart-succeeded", "chart-failed"]
    assert all(y >= 0 and height >= 1 for _, y, height in rects)
    assert rects[2][1] + rects[2][2] == pytest.approx(rects[1][1], abs=0.1), "the failure stands on what succeeded"


def test_the_table_has_the_same_numbers():
    text = table(chart(Series("succeeded", "good", [30, None]), Series("timeout", "late", [12_345, 1.25])))
    assert re.findall(r"<t[hd]\b[^>]*>([^<]*)<", text) == [
        "Time", "good", "late", "10:00", "30", "12.3k", "11:00", "–", "1.2",
    ]  # fmt: skip


def test_texts_are_escaped_and_there_is_neither_script_nor_style():
    hostile = Chart("key", HOSTILE, HOSTILE, [HOSTILE], [Series("succeeded", HOSTILE, [1])], unit=HOSTILE)
    page = figure(stacked_bars(hostile), hostile) + spark_bars([Series("succeeded", HOSTILE, [1])], title=HOSTILE)
    assert "<script" not in page
    assert "style=" not in page
    assert all(drawn(svg) is not None for svg in SVG.findall(page))


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (950, "950"), (2.5, "2.5"), (9_999, "9999"), (12_000, "12k"), (3_400_000, "3.4M")]
)
def test_numbers_are_short(value, text):
    assert number(value) == text


def test_numbers_have_the_readers_decimal_sign():
    with translation.override("fr"):
        assert [number(2.5), number(1250000), number(1000)] == ["2,5", "1,2M", "1000"]
