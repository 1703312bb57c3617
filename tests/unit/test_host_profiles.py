"""Profiles that a host's modules declare: whatever a module does, the caller gets a profile or a ConfigurationError."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from webhooks_app.core.retry import RetryPolicy
from webhooks_app.exceptions import ConfigurationError
from webhooks_app.profiles import get_profile, profile_names, retry_policy_of
from webhooks_app.profiles.host import RETRY_SECONDS, HostProfiles

GOOD = """
from dataclasses import replace
from webhooks_app.core.retry import RetryPolicy
from webhooks_app.profiles import standard
PROFILE = replace(standard.PROFILE, name="mine", retry=RetryPolicy(delays=()))
"""
COUNTED = """
import pathlib
with pathlib.Path(__file__).with_suffix(".imports").open("a") as file:
    file.write("x")
"""
BROKEN = {
    "a name that does not exist": ("PROFILE = nothing", "NameError: name 'nothing' is not defined"),
    "a syntax error": ("PROFILE = (", "SyntaxError"),
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
    "a division": ("PROFILE = 1 / 0", "ZeroDivisionError"),
    "endless recursion": ("def f(): f()\nf()", "RecursionError"),
    "sys.exit": ("import sys\nsys.exit(3)", "SystemExit: 3"),
    "another BaseException": ("class Stop(BaseException): pass\nraise Stop('now')", "Stop: now"),
    "an error without a text": (
        "class Odd(Exception):\n    def __str__(self):\n        raise ValueError\nraise Odd",
        "Odd",
    ),
    "a long error": ("raise ValueError('x' * 100000)", "ValueError: xxx"),
    "a percent sign": ("raise ValueError('100%s %(x)s')", r"ValueError: 100%s %\(x\)s"),
    "no profile": ("PROFILE = 'standard'", "is not a Profile"),
    "a profile class": ("from webhooks_app.core.profile import Profile as PROFILE", "is not a Profile"),
}
Write = Callable[[str], str]
_numbers = itertools.count()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a module of the host and return the dotted path of its PROFILE. No two have the same name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def module(source: str) -> str:
        name = f"host_profile_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(COUNTED + source)
        return f"{name}.PROFILE"

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
    with override_settings(WEBHOOKS={"PROFILES": {"mine": path, "standard": path}}):
        for name in ("mine", "mine", "standard"):
            with pytest.raises(ConfigurationError, match=message) as caught:
                get_profile(name)
            assert str(caught.value).startswith(f"WEBHOOKS['PROFILES']['{name}']: '{path}' ")
            assert len(str(caught.value)) < 800
            assert caught.value.field == "PROFILES"
        assert retry_policy_of("mine") == RetryPolicy()
        assert get_profile("msgine").name == "msgine"


@pytest.mark.parametrize(
    "path", [None, 5, "", ".", "..", "a.", ["x.PROFILE"], {"path": "x"}, b"x.PROFILE", "\0.x", "é.x"]
)
def test_a_path_that_is_none_is_a_configuration_error(path: Any) -> None:
    with override_settings(WEBHOOKS={"PROFILES": {"mine": path}}):
        with pytest.raises(ConfigurationError, match=r"WEBHOOKS\['PROFILES'\]\['mine'\]"):
            get_profile("mine")
        assert retry_policy_of("mine") == RetryPolicy()
        assert "mine" in profile_names()


def test_a_keyboard_interrupt_is_passed_on(write: Write) -> None:
    path = write("raise KeyboardInterrupt")
    with override_settings(WEBHOOKS={"PROFILES": {"mine": path}}), pytest.raises(KeyboardInterrupt):
        get_profile("mine")


def test_the_retry_policy_of_a_profile(write: Write) -> None:
    with override_settings(WEBHOOKS={"PROFILES": {"mine": write(GOOD)}}):
        assert retry_policy_of("mine") == RetryPolicy(delays=())
        assert retry_policy_of("msgine") == get_profile("msgine").retry
        assert retry_policy_of("nope") == RetryPolicy()
    with override_settings(WEBHOOKS={"NO_SUCH_SETTING": 1}):
        assert retry_policy_of("standard") == RetryPolicy()


def test_a_profile_is_imported_once(write: Write, imports: Callable[[str], int]) -> None:
    path = write(GOOD)
    profiles = HostProfiles()
    assert profiles.load("mine", path) is profiles.load("mine", path)
    assert imports(path) == 1


def test_a_failed_import_is_repeated_after_a_while(write: Write, imports: Callable[[str], int], tmp_path: Path) -> None:
    clock = [1000.0]
    profiles = HostProfiles(clock=lambda: clock[0])
    path = write("PROFILE = nothing")
    for seconds in (0, RETRY_SECONDS / 2, RETRY_SECONDS - 0.001):
        clock[0] = 1000.0 + seconds
        with pytest.raises(ConfigurationError, match=f"'{path}' cannot be imported: NameError: name 'nothing'"):
            profiles.load("mine", path)
        assert imports(path) == 1
    clock[0] = 1000.0 + RETRY_SECONDS
    with pytest.raises(ConfigurationError, match="NameError"):
        profiles.load("mine", path)
    assert imports(path) == 2

    # Of another size, so that Python does not take the compiled file of the same second for it.
    (tmp_path / f"{path.partition('.')[0]}.py").write_text(COUNTED + GOOD)
    with pytest.raises(ConfigurationError, match="NameError"):
        profiles.load("mine", path)
    clock[0] += RETRY_SECONDS
    assert profiles.load("mine", path).name == "mine"
    clock[0] += RETRY_SECONDS
    assert profiles.load("mine", path).retry == RetryPolicy(delays=())
    assert imports(path) == 3
