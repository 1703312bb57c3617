"""Bodies as people read them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks_app.deliveries.pretty_body import pretty_body


def test_json_is_indented_and_nothing_in_it_changes() -> None:
    body = '{"a":[1.10,1e400,12345678901234567890],"b":{},"c":[],"a":"x, {y}: \\"z\\""}'
    shown = pretty_body(body)
    assert shown.is_indented
    assert shown.text == (
        '{\n  "a": [\n    1.10,\n    1e400,\n    12345678901234567890\n  ],\n  "b": {},\n  "c": [],\n'
        '  "a": "x, {y}: \\"z\\""\n}'
    )


@pytest.mark.parametrize("body", [b"", b"OK", b"<b>no</b>", b'{"cut": ', b"[1, 2", b"\xff\xfe{}", b"12"])
def test_what_is_no_json_object_or_list_stays_as_it_is(body: bytes) -> None:
    shown = pretty_body(body)
    assert not shown.is_indented
    assert shown.text == body.decode("utf-8", "replace")


def test_json_that_is_nested_very_deeply_is_not_indented() -> None:
    for depth in (60, 5000, 100_000):
        body = "[" * depth + "]" * depth
        assert pretty_body(body).text == body
        assert not pretty_body(body).is_indented


def test_a_body_does_not_grow_to_megabytes() -> None:
    body = "[" * 49 + ",".join(["1"] * 100_000) + "]" * 49
    shown = pretty_body(body)
    assert shown.text == body
    assert not shown.is_indented


def test_no_nul_is_shown() -> None:
    assert "\x00" not in pretty_body(b"a\x00b").text


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=12,
    )
)
def test_the_indented_text_means_the_same(value: object) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, separators=(",", ":"))):
        assert json.loads(pretty_body(text).text.replace("�", "\x00")) == value or "\x00" in text
