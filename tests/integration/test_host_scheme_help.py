"""A signature scheme of the host's describes itself: the customers' page and the check of a signature use it."""

from __future__ import annotations

import hashlib
import hmac
import html
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone

from tests.factories import EventFactory, TenantFactory
from tests.integration.test_dashboard_verify_signatures import BARE, GOOD, PAGE, check, words
from tests.pipelines import WIRE_FORMATS
from tests.visitors import visiting
from tests.wire_formats import BUILT_IN
from webhooks_app.core.scheme_help import HeaderHelp, SchemeHelp
from webhooks_app.core.signing import TOLERANCE, Headers, Key
from webhooks_app.endpoints.check_signature import SignatureProblem
from webhooks_app.engine.types import EventBody
from webhooks_app.exceptions import ConfigurationError, VerificationFailed
from webhooks_app.models import Event

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("visitors")]


class OwnScheme:
    """Signs the time and the body, and names the event; says so, except where `help` is None."""

    header_names = ("x-own-time", "x-own-event", "x-own-signature")

    def __init__(self, described: SchemeHelp | None) -> None:
        self.help = described

    def headers(self, *, message_id: str, timestamp: int, body: bytes, keys: tuple[Key, ...]) -> Headers:
        signature = self._signature(keys[0], str(timestamp), body)
        return (("X-Own-Time", str(timestamp)), ("X-Own-Event", message_id), ("X-Own-Signature", signature))

    def verify(
        self, headers: Mapping[str, str], body: bytes, keys: Iterable[Key], *, now: int, tolerance: int = TOLERANCE
    ) -> None:
        wanted = [self._signature(key, headers["x-own-time"], body) for key in keys]
        if headers["x-own-signature"] not in wanted:
            raise VerificationFailed("The signature does not fit.")

    @staticmethod
    def _signature(key: Key, timestamp: str, body: bytes) -> str:
        assert isinstance(key, bytes)
        return hmac.new(key, f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def _fails(headers: Mapping[str, str]) -> str:
    raise KeyError("a mistake of the host's")


HELP = SchemeHelp(
    signed_content="{x-own-time}.{body}",
    headers=(
        HeaderHelp("X-Own-Time", "When %(who)s signed.", {"who": "Acme"}),
        HeaderHelp("X-Own-Event", "The event."),
    ),
    event_id_header="x-own-event",
    timestamp=lambda headers: headers["x-own-time"],
)
DESCRIBED = replace(BUILT_IN["msgflash"], name="own", scheme=OwnScheme(HELP))
SILENT = replace(DESCRIBED, scheme=OwnScheme(None))
FAILING = replace(DESCRIBED, scheme=OwnScheme(replace(HELP, timestamp=_fails)))


@pytest.fixture
def event() -> Event:
    return EventFactory(payload={"n": 1})


def use(configure: Any, name: str) -> None:
    configure(WIRE_FORMATS={**WIRE_FORMATS, "own": f"{__name__}.{name}"}, DEFAULT_WIRE_FORMAT="own")


def form(event: Event, *, age: int = 0, body: bytes = b'{"n":1}') -> dict[str, str]:
    timestamp = int(timezone.now().timestamp()) - age
    headers = DESCRIBED.scheme.headers(
        message_id=event.public_id, timestamp=timestamp, body=body, keys=(BARE.encode(),)
    )
    lines = "\n".join(f"{name}: {value}" for name, value in headers)
    return {"headers": lines, "body": body.decode(), "secret": BARE}


def test_the_page_says_what_the_scheme_says(configure: Any) -> None:
    use(configure, "DESCRIBED")
    page = html.unescape(visiting(TenantFactory()).get(PAGE).content.decode())
    for text in (
        "When Acme signed.",
        "The event.",
        "{x-own-time}.{body}",
        "Look at the time.",
        "<code>x-own-event</code>",
    ):
        assert text in page


def test_the_page_names_the_headers_of_a_scheme_that_says_nothing(configure: Any) -> None:
    use(configure, "SILENT")
    page = visiting(TenantFactory()).get(PAGE).content.decode()
    assert page.count("Part of the signature.") == 3
    assert "Look at the time." not in page
    assert "Work out the signature." not in page


@pytest.mark.parametrize(
    ("name", "age", "title"),
    [
        ("DESCRIBED", 0, GOOD),
        ("DESCRIBED", 1000, words(SignatureProblem.TOO_OLD)),
        ("SILENT", 1000, GOOD),
        ("FAILING", 1000, GOOD),
    ],
)
def test_the_check_reads_the_time_where_the_scheme_says_it_is(
    configure: Any, event: Event, name: str, age: int, title: str
) -> None:
    use(configure, name)
    assert check(event.tenant, form(event, age=age)).context["result"].title == title


def test_the_check_finds_the_event_in_the_header_that_the_scheme_names(configure: Any, event: Event) -> None:
    use(configure, "DESCRIBED")
    sent = EventBody(event.id, event.type, event.occurred_at, event.data).body(DESCRIBED)
    changed = {**form(event, body=sent), "body": '{"n":2}'}
    assert check(event.tenant, changed).context["result"].title == words(SignatureProblem.BODY_CHANGED)


def test_a_help_of_another_type_is_refused() -> None:
    scheme: Any = OwnScheme(None)
    scheme.help = "Read the manual."
    with pytest.raises(ConfigurationError, match="SchemeHelp"):
        replace(DESCRIBED, scheme=scheme)
