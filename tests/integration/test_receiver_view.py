"""The decorator for Django views that receive webhooks."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import path

from webhooks_app.core.signing import key_of
from webhooks_app.receiver import verified
from webhooks_app.wire_formats import get_wire_format

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"type":"order.paid","data":{"order":17}}'


def signed(wire_format: str = "standard", body: bytes = BODY, secret: str = SECRET) -> dict[str, str]:
    wire = get_wire_format(wire_format)
    key = key_of(secret, wire.secret_format)
    return dict(wire.scheme.headers(message_id="evt_1", timestamp=int(time.time()), body=body, keys=(key,)))


@verified(SECRET)
def orders(request: HttpRequest) -> HttpResponse:
    return HttpResponse(json.loads(request.body)["type"])


@verified(lambda request: request.headers.get("X-Whose"), wire_format="msgflash")
def others(request: HttpRequest) -> HttpResponse:
    return HttpResponse("taken")


urlpatterns = [path("orders", orders), path("others", others)]


@pytest.fixture
def client(settings: Any) -> Client:
    settings.ROOT_URLCONF = __name__
    return Client(enforce_csrf_checks=True)


def post(client: Client, where: str, body: bytes, headers: dict[str, str]) -> HttpResponse:
    return client.post(where, body, content_type="application/json", headers=headers)  # type: ignore[return-value]


def test_a_genuine_request_reaches_the_view_without_a_csrf_token(client: Client) -> None:
    response = post(client, "/orders", BODY, signed())
    assert (response.status_code, response.content) == (200, b"order.paid")


@pytest.mark.parametrize("body", [BODY + b" ", b"", b"\xff"], ids=repr)
def test_a_changed_body_is_refused(client: Client, body: bytes) -> None:
    response = post(client, "/orders", body, signed())
    assert response.status_code == 401
    assert SECRET.encode() not in response.content


def test_no_signature_is_refused_and_so_is_another_method(client: Client) -> None:
    assert post(client, "/orders", BODY, {}).status_code == 401
    assert client.get("/orders").status_code == 405


def test_the_secret_may_be_looked_up_for_the_request(client: Client) -> None:
    headers = signed("msgflash")
    assert post(client, "/others", BODY, {**headers, "X-Whose": SECRET}).content == b"taken"
    assert post(client, "/others", BODY, {**headers, "X-Whose": "another secret of theirs"}).status_code == 401
    assert post(client, "/others", BODY, headers).status_code == 401, "nobody's secret verifies nothing"


def test_the_view_keeps_its_name() -> None:
    assert orders.__name__ == "orders"
    assert orders(RequestFactory().get("/")).status_code == 405
