"""Wire formats that a host's modules declare: whatever a module does, the caller gets a wire format or a ConfigurationError."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import override_settings

from tests.pipelines import eventually
from webhooks_app import contrib
from webhooks_app.core.retry import RetryPolicy
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.wire_formats import (
    WireFormat,
    get_wire_format,
    known_retry_policy_of,
    load_wire_formats,
    retry_policy_of,
    wire_format_names,
)
from webhooks_app.wire_formats.host import LONGEST_RETRY_SECONDS, RETRY_SECONDS, HostWireFormats

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
SLOW = """
import time
from tests.unit.test_host_wire_formats import slow
time.sleep(slow.seconds)
raise ConnectionError("the key service is away")
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
#: How long the import of SLOW takes.
slow = SimpleNamespace(seconds=0.0)
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


class Host:
    """A module of the host's, the wire formats that load it, and their clock."""

    def __init__(self, path: str, count: Callable[[str], int]) -> None:
        self.path, self.now, self._count = path, 1000.0, count
        self.wire_formats = HostWireFormats(clock=lambda: self.now)

    @property
    def imports(self) -> int:
        return self._count(self.path)

    def load(self) -> WireFormat:
        return self.wire_formats.load("mine", self.path)

    def fail(self, fault: str = "NameError: name 'nothing'") -> None:
        with pytest.raises(ConfigurationError, match=f"'{self.path}' cannot be imported: {fault}"):
            self.load()

    def retried(self) -> None:
        """Wait until no thread imports it."""
        eventually(lambda: not any(thread.name == "webhooks-import-mine" for thread in threading.enumerate()))


def test_a_failed_import_is_repeated_later_each_time(write: Write, imports: Callable[[str], int]) -> None:
    host = Host(write("WIRE_FORMAT = nothing"), imports)
    host.fail()
    for times, seconds in enumerate((30, 60, 120, 240, 480, 600, 600), start=1):
        for wait in (0, seconds / 2, seconds / 2 - 0.001):
            host.now += wait
            host.fail()
            host.retried()
            assert host.imports == times
        host.now += 0.001
        host.fail()
        host.retried()
        assert host.imports == times + 1


def test_one_that_can_be_imported_at_last_is_used(write: Write, imports: Callable[[str], int], tmp_path: Path) -> None:
    host = Host(write("WIRE_FORMAT = nothing"), imports)
    host.fail()
    # Of another size, so that Python does not take the compiled file of the same second for it.
    (tmp_path / f"{host.path.partition('.')[0]}.py").write_text(COUNTED + GOOD)
    host.fail()
    assert host.wire_formats.loaded("mine", host.path) is None
    host.now += RETRY_SECONDS
    host.fail()
    host.retried()
    assert host.load().retry == RetryPolicy(delays=())
    assert host.wire_formats.loaded("mine", host.path) is host.load()
    host.now += LONGEST_RETRY_SECONDS
    assert host.load().name == "mine"
    assert host.imports == 2


def test_nobody_waits_for_an_import_that_is_repeated(write: Write, imports: Callable[[str], int]) -> None:
    host = Host(write(SLOW), imports)
    slow.seconds = 0.0
    host.fail("ConnectionError: the key service is away")
    slow.seconds = 1.0
    host.now += RETRY_SECONDS
    began = time.monotonic()
    for _ in range(3):
        host.fail("ConnectionError: the key service is away")
    assert time.monotonic() - began < 0.5
    host.retried()
    assert host.imports == 2


def test_only_one_that_was_never_tried_is_loaded_beforehand(write: Write, imports: Callable[[str], int]) -> None:
    good, bad = write(GOOD), write("WIRE_FORMAT = nothing")
    paths = {"good": good, "bad": bad, "none": ["x"]}
    with override_settings(WEBHOOKS={"WIRE_FORMATS": paths}):
        for name in paths:
            assert known_retry_policy_of(name) == RetryPolicy()
        assert (imports(good), imports(bad)) == (0, 0)
        for _ in range(2):
            load_wire_formats()
            assert [known_retry_policy_of(name) for name in paths] == [
                RetryPolicy(delays=()),
                RetryPolicy(),
                RetryPolicy(),
            ]
        assert (imports(good), imports(bad)) == (1, 1)
        assert known_retry_policy_of("nope") == known_retry_policy_of("standard") == RetryPolicy()
    with override_settings(WEBHOOKS={"NO_SUCH_SETTING": 1}):
        load_wire_formats()
        assert known_retry_policy_of("standard") == RetryPolicy()
