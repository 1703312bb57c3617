"""`core.js_json` against the real thing: Node parses and writes what we wrote, and nothing may change."""

from __future__ import annotations

import json
import random
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.acceptance.languages import program
from webhooks_app.core import js_json
from webhooks_app.exceptions import InvalidEvent

PROGRAM = Path(__file__).parents[1] / "acceptance" / "receivers" / "reserialise.mjs"
SAFE = js_json.MAX_SAFE_INTEGER
Node = Callable[[str], str]


def rewrite(text: str) -> str:
    """The same JSON as JavaScript would write it."""
    return js_json.dumps(js_json.loads(text))


def stored(data: object) -> str:
    """Data as `emit` stores it."""
    return js_json.escape_surrogates(json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")))


@pytest.fixture(scope="module")
def in_node() -> Iterator[Node]:
    """JSON.stringify(JSON.parse(text)), by Node."""
    with subprocess.Popen(
        [program("node"), PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        to_node, from_node = process.stdin, process.stdout

        def reserialise(text: str) -> str:
            to_node.write(json.dumps(text) + "\n")
            to_node.flush()
            return str(json.loads(from_node.readline()))

        yield reserialise


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**70), max_value=2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet=st.characters(exclude_categories=()))  # lone surrogates too
)
KEYS = (
    st.text(alphabet=st.characters(exclude_categories=()), max_size=8)
    | st.integers(min_value=-2, max_value=2**33).map(str)
    | st.sampled_from(
        ["__proto__", "constructor", "toString", "length", "", "00", "1.0", "-0", "4294967294", "4294967295"]
    )
)
DATA = st.recursive(
    SCALARS,
    lambda children: st.lists(children, max_size=6) | st.dictionaries(KEYS, children, max_size=8),
    max_leaves=25,
)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=DATA)
def test_javascript_writes_again_what_we_wrote(in_node: Node, data: Any) -> None:
    text = rewrite(stored(data))
    text.encode()
    assert in_node(text) == text


@settings(max_examples=200, deadline=None)
@given(data=DATA)
def test_rewriting_twice_changes_nothing_unless_it_must(data: Any) -> None:
    """Only a float such as 1e17 does: it is printed as a whole number, which as a whole number is too large."""
    once = rewrite(stored(data))
    again = rewrite(once)
    assert rewrite(again) == again


def test_floats_look_as_in_javascript(in_node: Node) -> None:
    dice = random.Random(20240601)
    floats = [struct.unpack("<d", dice.randbytes(8))[0] for _ in range(4000)]
    floats += [dice.uniform(-1, 1) * 10 ** dice.randint(-12, 25) for _ in range(4000)]
    floats += [sign * 10.0**power for power in range(-30, 31) for sign in (1, -1)]
    floats += [float(dice.randint(-(10**17), 10**17)) for _ in range(2000)]
    floats += [round(dice.uniform(0, 10_000), 2) for _ in range(2000)]
    text = rewrite("[" + ",".join(repr(one) for one in floats if one == one and abs(one) < 1e309) + "]")
    assert in_node(text) == text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1.0", "1"),
        ("1e-07", "1e-7"),
        ("0.000001", "0.000001"),
        ("1e21", "1e+21"),
        ("1e20", "100000000000000000000"),
        ("123456789012345680000.0", "123456789012345680000"),
        ("1.5e300", "1.5e+300"),
        ("5e-324", "5e-324"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("-1.50", "-1.5"),
        ("1E2", "100"),
        ("0.1", "0.1"),
        ("1e-400", "0"),
        (str(SAFE), str(SAFE)),
        (str(-SAFE), str(-SAFE)),
        (str(SAFE + 1), f'"{SAFE + 1}"'),
        (str(-SAFE - 1), f'"{-SAFE - 1}"'),
        ("9" * 5000, '"' + "9" * 5000 + '"'),
    ],
)
def test_numbers(in_node: Node, text: str, wanted: str) -> None:
    assert rewrite(text) == wanted
    assert in_node(wanted) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"b":1,"10":2,"9":3,"a":4}', '{"9":3,"10":2,"b":1,"a":4}'),
        ('{"b":1,"4294967294":2,"0":3}', '{"0":3,"4294967294":2,"b":1}'),
        ('{"b":1,"4294967295":2}', '{"b":1,"4294967295":2}'),
        ('{"b":1,"01":2,"-1":3,"1.0":4,"\u0661":5}', '{"b":1,"01":2,"-1":3,"1.0":4,"\u0661":5}'),
        ('{"a":1,"b":2,"a":3}', '{"a":3,"b":2}'),
        ('{"b":1,"__proto__":{"x":1}}', '{"b":1,"__proto__":{"x":1}}'),
        ('{"":0}', '{"":0}'),
        ("{}", "{}"),
        ("[[],{}]", "[[],{}]"),
    ],
)
def test_keys(in_node: Node, text: str, wanted: str) -> None:
    assert rewrite(text) == wanted
    assert in_node(wanted) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (r'"\u0008\u0009\u000a\u000c\u000d\u001F\u0000"', r'"\b\t\n\f\r\u001f\u0000"'),
        (r'"\/ \u002f \""', r'"/ / \""'),
        (r'"\u2028\u2029\u007f\u0085\uFEFF"', '"\u2028\u2029\x7f\x85\ufeff"'),
        (r'"\ud83d\ude00"', '"😀"'),
        (r'"\uD83D"', r'"\ud83d"'),
        (r'"\ude00\ud83d"', r'"\ude00\ud83d"'),
        (r'"<>&\u0027"', '"<>&\'"'),
        ('"नमस्ते"', '"नमस्ते"'),
    ],
)
def test_texts(in_node: Node, text: str, wanted: str) -> None:
    assert rewrite(text) == wanted
    assert in_node(wanted) == wanted


def test_halves_that_meet_become_one_character() -> None:
    assert rewrite('"\ud83d\ude00"') == '"😀"'
    assert rewrite('"\ud83d\\ude00"') == '"😀"'
    assert rewrite('{"\ud83d\ude00":1,"😀":2}') == '{"😀":2}'
    assert js_json.dumps({"\ud83d": "\ude00"}) == r'{"\ud83d":"\ude00"}'


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_are_not_finite_are_refused(text: str) -> None:
    with pytest.raises(InvalidEvent):
        rewrite(text)


def test_a_nesting_too_deep_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="deep"):
        rewrite("[" * 100_000 + "]" * 100_000)
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(InvalidEvent, match="deep"):
        js_json.dumps(nested)
    while nested:  # taken apart by hand, since the interpreter would recurse
        nested = nested.pop()


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="set"):
        js_json.dumps({"x": {1}})
