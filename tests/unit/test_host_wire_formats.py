"""Wire formats that a host's modules declare: whatever a module does, the caller gets a wire format or a ConfigurationError."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from webhooks_app import contrib
from webhooks_app.core.retry import RetryPolicy
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.wire_formats import get_wire_format, retry_policy_of, wire_format_names
from webhooks_app.wire_formats.host import RETRY_SECONDS, HostWireFormats

GOOD = """
from dataclasses import replace
from webhooks_app.core.retry import RetryPolicy
from webhooks_app.wire_formats import standard
WIRE_FORMAT = replace(standard.WIRE_FORMAT, name="mine", retry=RetryPolicy(delays=()))
"""
COUNTED = """
import pathlib
with pathlib.Path(__file__).with_suffix(".imports").open("a") as file:
    file.write("x")
"""
BROKEN = {
    "a name that does not exist": ("WIRE_FORMAT = nothing", "NameError: name 'nothing' is not defined"),
    "a syntax error": ("WIRE_FORMAT = (", "SyntaxError"),
    "a missing import": ("import no_such_module", "ModuleNotFoundError"),
    "a missing attribute": ("OTHER = 1", "ImportError"),
    "a Django error": (
        "from django.core.exceptions import ImproperlyConfigured\nraise ImproperlyConfigured('no key')",
        "ImproperlyConfigured: no key",
    ),
    "an error of our own": (
        "from webhooks_app.core.retry import RetryPolicy\nRetryPolicy(jitter=2)",
        "ConfigurationError: RetryPolicy.jitter must be",
    ),
    "a policy of its own class": (
        "from dataclasses import replace\nfrom webhooks_app import wire_formats\n"
        "class Policy(wire_formats.RetryPolicy): pass\nWIRE_FORMAT = replace(wire_formats.STANDARD, retry=Policy())",
        r"ConfigurationError: WireFormat.retry must be a RetryPolicy \(no subclass\), not Policy\(",
    ),
    "a division": ("WIRE_FORMAT = 1 / 0", "ZeroDivisionError"),
    "endless recursion": ("def f(): f()\nf()", "RecursionError"),
    "sys.exit": ("import sys\nsys.exit(3)", "SystemExit: 3"),
    "another BaseException": ("class Stop(BaseException): pass\nraise Stop('now')", "Stop: now"),
    "an error without a text": (
        "class Odd(Exception):\n    def __str__(self):\n        raise ValueError\nraise Odd",
        "Odd",
    ),
    "a long error": ("raise ValueError('x' * 100000)", "ValueError: xxx"),
    "a percent sign": ("raise ValueError('100%s %(x)s')", r"ValueError: 100%s %\(x\)s"),
    "no wire format": ("WIRE_FORMAT = 'standard'", "is not a WireFormat"),
    "a wire format class": (
        "from webhooks_app.wire_formats.base import WireFormat as WIRE_FORMAT",
        "is not a WireFormat",
    ),
}
Write = Callable[[str], str]
_numbers = itertools.count()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a module of the host and return the dotted path of its WIRE_FORMAT. No two have the same name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def module(source: str) -> str:
        name = f"host_wire_format_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(COUNTED + source)
        return f"{name}.WIRE_FORMAT"

    return module


@pytest.fixture
def imports(tmp_path: Path) -> Callable[[str], int]:
    """Tell how often the module of that dotted path was run."""

    def count(path: str) -> int:
        file = tmp_path / f"{path.partition('.')[0]}.imports"
        return len(file.read_text()) if file.exists() else 0

    return count


@pytest.mark.parametrize("what", BROKEN)
def test_a_module_that_fails_is_a_configuration_error(what: str, write: Write) -> None:
    source, message = BROKEN[what]
    path = write(source)
    with override_settings(
        WEBHOOKS={"WIRE_FORMATS": {"mine": path, "standard": path, "msgine": contrib.WIRE_FORMATS["msgine"]}}
    ):
        for name in ("mine", "mine", "standard"):
            with pytest.raises(ConfigurationError, match=message) as caught:
                get_wire_format(name)
            assert str(caught.value).startswith(f"WEBHOOKS['WIRE_FORMATS']['{name}']: '{path}' ")
            assert len(str(caught.value)) < 800
            assert caught.value.field == "WIRE_FORMATS"
        assert retry_policy_of("mine") == RetryPolicy()
        assert get_wire_format("msgine").name == "msgine"


@pytest.mark.parametrize(
    "path", [None, 5, "", ".", "..", "a.", ["x.WIRE_FORMAT"], {"path": "x"}, b"x.WIRE_FORMAT", "\0.x", "é.x"]
)
def test_a_path_that_is_none_is_a_configuration_error(path: Any) -> None:
    with override_settings(WEBHOOKS={"WIRE_FORMATS": {"mine": path}}):
        with pytest.raises(ConfigurationError, match=r"WEBHOOKS\['WIRE_FORMATS'\]\['mine'\]"):
            get_wire_format("mine")
        assert retry_policy_of("mine") == RetryPolicy()
        assert "mine" in wire_format_names()


def test_a_keyboard_interrupt_is_passed_on(write: Write) -> None:
    path = write("raise KeyboardInterrupt")
    with override_settings(WEBHOOKS={"WIRE_FORMATS": {"mine": path}}), pytest.raises(KeyboardInterrupt):
        get_wire_format("mine")


def test_the_retry_policy_of_a_wire_format(write: Write) -> None:
    with override_settings(WEBHOOKS={"WIRE_FORMATS": {**contrib.WIRE_FORMATS, "mine": write(GOOD)}}):
        assert retry_policy_of("mine") == RetryPolicy(delays=())
        assert retry_policy_of("msgine") == get_wire_format("msgine").retry
        assert retry_policy_of("nope") == RetryPolicy()
    with override_settings(WEBHOOKS={"NO_SUCH_SETTING": 1}):
        assert retry_policy_of("standard") == RetryPolicy()


def test_a_wire_format_is_imported_once(write: Write, imports: Callable[[str], int]) -> None:
    path = write(GOOD)
    wire_formats = HostWireFormats()
    assert wire_formats.load("mine", path) is wire_formats.load("mine", path)
    assert imports(path) == 1


def test_a_failed_import_is_repeated_after_a_while(write: Write, imports: Callable[[str], int], tmp_path: Path) -> None:
    clock = [1000.0]
    wire_formats = HostWireFormats(clock=lambda: clock[0])
    path = write("WIRE_FORMAT = nothing")
    for seconds in (0, RETRY_SECONDS / 2, RETRY_SECONDS - 0.001):
        clock[0] = 1000.0 + seconds
        with pytest.raises(ConfigurationError, match=f"'{path}' cannot be imported: NameError: name 'nothing'"):
            wire_formats.load("mine", path)
        assert imports(path) == 1
    clock[0] = 1000.0 + RETRY_SECONDS
    with pytest.raises(ConfigurationError, match="NameError"):
        wire_formats.load("mine", path)
    assert imports(path) == 2

    # Of another size, so that Python does not take the compiled file of the same second for it.
    (tmp_path / f"{path.partition('.')[0]}.py").write_text(COUNTED + GOOD)
    with pytest.raises(ConfigurationError, match="NameError"):
        wire_formats.load("mine", path)
    clock[0] += RETRY_SECONDS
    assert wire_formats.load("mine", path).name == "mine"
    clock[0] += RETRY_SECONDS
    assert wire_formats.load("mine", path).retry == RetryPolicy(delays=())
    assert imports(path) == 3
