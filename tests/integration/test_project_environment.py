"""The runnable project refuses what cannot be meant with one line, and no traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from project import environment, run
from project.demo.behaviour import Behaviour, Seen
from project.demo.plan import PlannedEndpoint
from project.demo.result import compare

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("text", ["banana", "", "2", "true"])
def test_a_switch_is_0_or_1(monkeypatch, text):
    monkeypatch.setenv("DEBUG", text)
    with pytest.raises(ImproperlyConfigured, match="DEBUG is 0 or 1"):
        environment.switch("DEBUG", "1")


@pytest.mark.parametrize("text", ["abc", "0", "99999", "-1", "8e3", "٣٣٣", "1" * 5000])
def test_a_port_is_a_number_in_range(monkeypatch, text):
    monkeypatch.setenv("PORT", text)
    with pytest.raises(ImproperlyConfigured, match="PORT is the number of a port"):
        environment.port("PORT", 8000)


def test_a_log_level_is_one_that_exists(monkeypatch):
    monkeypatch.setenv("LOG_LEVEL", "warning")
    assert environment.log_level("LOG_LEVEL", "INFO") == "WARNING"
    monkeypatch.setenv("LOG_LEVEL", "foo")
    with pytest.raises(ImproperlyConfigured, match="LOG_LEVEL is one of DEBUG, INFO"):
        environment.log_level("LOG_LEVEL", "INFO")


@pytest.mark.parametrize("url", ["foo", "foo://user:hunter2@host/name", "postgres://user:hunter2@host:port/name"])
def test_a_database_url_that_is_none_is_refused_without_showing_it(monkeypatch, url):
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL is no URL of a database") as caught:
        environment.database("sqlite:///x")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"PORT": "abc"}, "PORT is the number of a port"),
        ({"DEMO_RECEIVER_PORT": "abc"}, "DEMO_RECEIVER_PORT is the number of a port"),
        ({"PORT": "8765", "DEMO_RECEIVER_PORT": "8765"}, "are both 8765"),
        ({"DEBUG": "banana"}, "DEBUG is 0 or 1"),
        ({"LOG_LEVEL": "foo"}, "LOG_LEVEL is one of"),
        ({"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none"}, "The database does not answer"),
        ({"CELERY_BROKER_URL": "pigeon://localhost"}, "there is no broker 'pigeon'"),
    ],
)
def test_the_demo_that_cannot_start_says_why_in_one_line(variables, said, tmp_path):
    left_out = ("WEBHOOKS_", "DJANGO_", "DATABASE_URL", "CELERY_", "DEBUG", "SECRET_KEY", "PYTHON")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    ports = {"PORT": str(free_port()), "DEMO_RECEIVER_PORT": str(free_port())}
    done = subprocess.run(
        [sys.executable, "-m", "project.run"],
        cwd=ROOT,
        env={**clean, **ports, "VAR_DIR": str(tmp_path), **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


KEYS = {
    "SECRET_KEY": "k" * 40 + "0123456789",
    "WEBHOOKS_ENCRYPTION_KEYS": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
}


def in_production(tmp_path: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the project's own settings. DEBUG is off, unless `variables` say otherwise."""
    left_out = ("WEBHOOKS_", "DJANGO_", "DATABASE_URL", "CELERY_", "SECRET_KEY", "HTTPS", "CACHE_URL", "EMAIL_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    environment_of_it = {**clean, "DEBUG": "0", "VAR_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "project.settings"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**environment_of_it, **KEYS, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize(("debug", "code"), [("1", 0), ("0", 1)])
def test_an_empty_key_is_one_that_is_not_set(name, debug, code, tmp_path):
    done = in_production(tmp_path, "-c", "import project.settings", **{name: ""}, DEBUG=debug)
    assert done.returncode == code
    assert (f"DEBUG is off: set {name} in the environment." in done.stderr) == bool(code)


@pytest.mark.processes
def test_a_production_has_nothing_that_djangos_checks_object_to(tmp_path):
    done = in_production(tmp_path, "manage.py", "check", "--deploy", CACHE_URL="redis://127.0.0.1:6379/1")
    assert (done.returncode, done.stdout) == (0, "System check identified no issues (2 silenced).\n")
    assert done.stderr == ""


ASK = """
import django
django.setup()
from django.test import Client
for path, extra in (("/login/", {}), ("/login/", {"HTTP_X_FORWARDED_PROTO": "https"}), ("/login/", {"wsgi.url_scheme": "https"})):
    answer = Client().get(path, SERVER_NAME="localhost", **extra)
    cookie = answer.cookies.get("csrftoken")
    print(answer.status_code, answer.headers.get("Strict-Transport-Security"), cookie and bool(cookie["secure"]))
"""


@pytest.mark.parametrize(
    ("https", "said"),
    [
        ("", ["301 None None", "301 None None", "200 max-age=31536000 True"]),
        ("proxy", ["301 None None", "200 max-age=31536000 True", "200 max-age=31536000 True"]),
        ("off", ["200 None False"] * 3),
    ],
)
def test_pages_are_for_https_only(https, said, tmp_path):
    done = in_production(tmp_path, "-c", ASK, HTTPS=https)
    assert done.stdout.splitlines() == said, done.stderr


@pytest.mark.parametrize(("name", "url"), [("CACHE_URL", "memcached://127.0.0.1"), ("HTTPS", "1")])
def test_a_word_that_is_none_of_the_choices(name, url, tmp_path):
    done = in_production(tmp_path, "-c", "import project.settings", **{name: url})
    assert done.returncode == 1
    assert f"{name} is " in done.stderr


def test_the_banner_names_what_forgets_the_data(monkeypatch):
    login = {"user": "u", "password": "p"}
    monkeypatch.setenv("VAR_DIR", "/elsewhere")
    assert "make clean" not in run.banner(1, 2, login)
    monkeypatch.delenv("VAR_DIR")
    assert "`make clean` forgets it" in run.banner(1, 2, login)


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_the_demos_time_is_above_zero(seconds):
    with pytest.raises(CommandError, match="is not a number of seconds above 0"):
        call_command("webhooks_demo", f"--timeout={seconds}")


@pytest.mark.parametrize("number", ["0", "-1", "many", "1.5"])
def test_the_demos_numbers_are_whole(number):
    with pytest.raises(CommandError, match="is not a whole number from 1"):
        call_command("webhooks_demo", f"--events={number}")


def test_what_is_pending_when_the_time_is_over_is_not_lost():
    endpoint = PlannedEndpoint("healthy-0", 0, Behaviour.HEALTHY)
    seen = {"healthy-0": Seen(accepted={"a": 1})}
    found = compare({0: {"a", "b", "c"}}, [endpoint], seen, {"healthy-0": {"b"}})
    assert (found.verified, found.lost) == (1, 1)
