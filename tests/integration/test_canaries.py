"""No key, header value or signature is in a `repr`, a log, or what Django's error pages and error trackers show of an exception.

Every function that handles one of them is made to fail at its end, when its local variables are complete.
"""

from __future__ import annotations

import dataclasses
import importlib
import logging
import pkgutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import CodeType, FrameType
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.views.debug import ExceptionReporter

import webhooks_app
from tests.api import Program
from tests.authentication import issued
from tests.certificates import certificate, key_pem, new_key, pem
from tests.customer import TYPE, Customer, attempts, deliver
from tests.forms import endpoint_values, header_values
from tests.staff import action_page, page
from tests.visitors import visiting
from webhooks_app import rotate_secret
from webhooks_app.core.authentication import basic
from webhooks_app.deliveries.test_event import send_test_event
from webhooks_app.models import Endpoint
from webhooks_app.tenants.access import Role

#: Module constants, because the reports below show the local variables of the tests, too.
SECRET, OTHER_SECRET = "whsec_Q0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZ", "whsec_Q0FOQVJZUk9UQVRFRENBTkFSWVJPVEFURUQ="
HEADERS = {"X-Token": "CANARYHEADERVALUE"}
NEW_HEADER = header_values(("X-A", "CANARYHEADERVALUE"))
CLIENT_SECRET, ACCESS_TOKEN = "CANARYCLIENTSECRET", "CANARYACCESSTOKEN"
CLIENT_IN_HEADER = basic("client", CLIENT_SECRET)
NEW_AUTHENTICATION = {
    "authentication_kind": "basic",
    "authentication_username": "somebody",
    "authentication_password": CLIENT_SECRET,
}
#: A private key whose text would be found, with its certificate; the customer's receiver speaks no TLS, so it is not used.
_KEY = new_key()
CLIENT_TLS = {
    "certificate": pem(
        certificate(_KEY, before=datetime(2020, 1, 1, tzinfo=UTC), after=datetime(2099, 1, 1, tzinfo=UTC))
    ),
    "private_key": key_pem(_KEY, "CANARYPASSPHRASE"),
    "passphrase": "CANARYPASSPHRASE",
}
CANARIES = {
    *(SECRET, OTHER_SECRET, "CANARYHEADERVALUE", "CANARYCANARY", "CANARYROTATED", "CANARYPASSPHRASE"),
    *(CLIENT_SECRET, ACCESS_TOKEN, CLIENT_IN_HEADER, basic("somebody", CLIENT_SECRET)),
    key_pem(_KEY).splitlines()[1][30:],
    CLIENT_TLS["private_key"].splitlines()[2],
}

PACKAGE = webhooks_app.__path__[0]

#: Names of fields that may hold one. Others are found by the functions that handle them.
SENSITIVE = {
    "key",
    "keys",
    "secret",
    "headers",
    "signature",
    "token",
    "password",
    "private",
    "plaintext",
    "text",
    "body",
    "data",
}
#: Fields with such a name that hold none.
HARMLESS = {
    *("Access.key", "NotificationEmail.text", "SummaryLine.text", "HealthFinding.text", "DeliveryAnswer.text"),
    *("SchemeHelp.headers", "Request.token", "Response.token", "Chart.key", "Part.keys", "Named.keys"),
}


class Boom(Exception):
    """Raised at the end of a function."""


@pytest.fixture(autouse=True)
def records() -> Iterator[list[logging.LogRecord]]:
    """Everything that is logged, at any level."""
    kept: list[logging.LogRecord] = []
    handler = logging.Handler(level=logging.DEBUG)
    handler.emit = kept.append  # type: ignore[method-assign]
    root = logging.getLogger()
    root.addHandler(handler)
    yield kept
    root.removeHandler(handler)


def holds_canary(value: object) -> bool:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a half-made object
        return False
    return any(canary in text for canary in CANARIES)


@contextmanager
def traced(on_return: Callable[[FrameType, Any], bool], only: CodeType | None = None) -> Iterator[None]:
    """Call `on_return` when a function of the package returns (or `only` this one), also in threads that are started meanwhile.
    Raise Boom in the function's place if the result is true."""

    def on_call(frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        return on_event if code is only or (only is None and code.co_filename.startswith(PACKAGE)) else None

    def on_event(frame: FrameType, event: str, arg: Any) -> Any:
        fails = event == "return" and on_return(frame, arg)
        del frame, arg
        if fails:
            raise Boom
        return on_event

    before = sys.gettrace()
    sys.settrace(on_call)
    threading.settrace(on_call)
    try:
        yield
    finally:
        sys.settrace(before)
        threading.settrace(None)  # type: ignore[arg-type]


def sensitive_functions(flow: Flow, customer: Customer) -> dict[CodeType, str]:
    """Return the functions that have a canary among their local variables, or return one, when this flow runs."""
    found: dict[CodeType, str] = {}

    def look(frame: FrameType, result: Any) -> bool:
        if frame.f_code not in found and (holds_canary(result) or any(map(holds_canary, frame.f_locals.values()))):
            found[frame.f_code] = f"{frame.f_code.co_filename.removeprefix(PACKAGE)}:{frame.f_code.co_name}"
        return False

    endpoint = new_endpoint(customer)
    with traced(look):
        flow(customer, endpoint)
    return found


def report_of(error: BaseException) -> str:
    """Return what Django's error pages and e-mails say, with the local variables of each function."""
    reporter = ExceptionReporter(None, type(error), error, error.__traceback__)
    return str(reporter.get_traceback_html()) + str(reporter.get_traceback_text())


def errors_of(flow: Flow, customer: Customer, fails: CodeType, records: list[logging.LogRecord]) -> list[BaseException]:
    """Return what was raised or logged when this function failed, once."""
    endpoint = new_endpoint(customer)
    records.clear()
    errors: list[BaseException] = []
    hit = [True]
    with traced(lambda frame, result: bool(hit) and hit.pop(), only=fails):
        try:
            flow(customer, endpoint)
        except Exception as error:  # noqa: BLE001 - it is looked at
            errors.append(error)
    return errors + [record.exc_info[1] for record in records if record.exc_info and record.exc_info[1] is not None]


def shows_canary(text: str) -> str:
    return next((canary for canary in CANARIES if canary in text), "")


# --- the flows --------------------------------------------------------------------------------------------------------

Flow = Callable[[Customer, Endpoint], None]


def new_endpoint(customer: Customer) -> Endpoint:
    customer.receiver.on("/token", issued(access_token=ACCESS_TOKEN))
    return customer.endpoint(
        headers=HEADERS, secret=SECRET, authentication=authentication(customer), client_tls=CLIENT_TLS
    )


def authentication(customer: Customer) -> dict[str, str]:
    url = customer.receiver.url("/token")
    return {"kind": "client_credentials", "token_url": url, "client_id": "client", "client_secret": CLIENT_SECRET}


def root() -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get_or_create(username="root", is_superuser=True, is_staff=True)[0])
    return client


def manager(customer: Customer) -> Client:
    client = visiting(customer.tenant, Role.MANAGER)
    client.raise_request_exception = False
    return client


def host_rotates(_customer: Customer, endpoint: Endpoint) -> None:
    rotate_secret(endpoint, secret=OTHER_SECRET)


def api_creates(customer: Customer, _endpoint: Endpoint) -> None:
    program, url = Program(customer.tenant), customer.receiver.url("/hook")
    values = {"url": url, "events": ["*"], "headers": HEADERS, "secret": SECRET}
    program("post", "/webhooks", {**values, "authentication": authentication(customer)})


def api_changes_certificates(customer: Customer, endpoint: Endpoint) -> None:
    Program(customer.tenant)("patch", f"/webhooks/{endpoint.public_id}", {"client_tls": CLIENT_TLS})


def page_changes_certificates(customer: Customer, endpoint: Endpoint) -> None:
    manager(customer).post(f"/webhooks/endpoints/{endpoint.public_id}/certificates", CLIENT_TLS)


def staff_changes_certificates(_customer: Customer, endpoint: Endpoint) -> None:
    values = {"url": endpoint.url, "events": "*", "filters": "{}", "metadata": "{}", **CLIENT_TLS}
    root().post(page(endpoint), values)


def api_tests(customer: Customer, endpoint: Endpoint) -> None:
    Program(customer.tenant)("post", f"/webhooks/{endpoint.public_id}/test", {"type": TYPE})


def page_creates(customer: Customer, _endpoint: Endpoint) -> None:
    client = manager(customer)
    client.post("/webhooks/endpoints/new", {**endpoint_values(client), **NEW_HEADER, **NEW_AUTHENTICATION})


def staff_rotates(_customer: Customer, endpoint: Endpoint) -> None:
    client = root()
    client.get(page(endpoint))
    client.post(action_page(endpoint, "rotate-secret"), {"overlap_hours": "0"})


def by_the_engine(customer: Customer, _endpoint: Endpoint) -> None:
    customer.emit({"text": "hello"})
    deliver()


def by_a_test_event(_customer: Customer, endpoint: Endpoint) -> None:
    send_test_event(endpoint, type=TYPE)


def on_an_attempts_page(customer: Customer, _endpoint: Endpoint) -> None:
    if not attempts():
        by_the_engine(customer, _endpoint)
        hooks = [one for one in customer.received if one.path == "/hook"]
        CANARIES.update(one.headers["webhook-signature"].split(",")[1] for one in hooks)
    attempt = attempts()[0]
    address = f"/webhooks/deliveries/{attempt.delivery.public_id}/attempts/{attempt.pk.hex}"
    manager(customer).get(address)


FLOWS = [
    *(host_rotates, api_creates, api_tests, page_creates, staff_rotates),
    *(api_changes_certificates, page_changes_certificates, staff_changes_certificates),
    *(by_the_engine, by_a_test_event, on_an_attempts_page),
]


@pytest.mark.processes  # tracing takes a minute
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("visitors")
@pytest.mark.parametrize("flow", FLOWS, ids=[flow.__name__ for flow in FLOWS])
def test_no_report_of_an_error_shows_one(flow: Flow, records: list[logging.LogRecord]) -> None:
    with Customer() as customer:
        functions = sensitive_functions(flow, customer)
        assert functions
        failed = 0
        leaks: list[str] = []
        for code, name in functions.items():
            errors = errors_of(flow, customer, code, records)
            failed += bool(errors)
            leaks += [f"{name}: {shown}" for error in errors if (shown := shows_canary(report_of(error)))]
            leaks += [f"{name}: the log" for record in records if shows_canary(record.getMessage())]
        assert leaks == []
        assert failed > 0, "else they did not fail"


def test_no_dataclass_shows_one() -> None:
    found = set()
    for module in pkgutil.walk_packages(webhooks_app.__path__, "webhooks_app."):
        if ".migrations." in module.name:
            continue
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == module.name:
                found |= {f"{kind.__name__}.{field.name}" for field in dataclasses.fields(kind) if field.repr}
    assert {name for name in found if name.partition(".")[2] in SENSITIVE} == HARMLESS
