"""Below a prefix that is an API's alone, whatever is asked is answered in its form: paths that are not there, too."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path

from tests.acceptance.dialects import key
from tests.api import ROOT, Program
from tests.contract.dialect_shapes import DIALECTS
from webhooks_app.api.urls_with_fallback import include_api
from webhooks_app.models import Endpoint, Event

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("event_types")]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")


def shops_own(request: HttpRequest, rest: str) -> HttpResponse:
    return HttpResponse(rest)


urlpatterns = [
    path("shop/", include("webhooks_app.contrib.muchaw.api")),
    path("shop/<path:rest>", shops_own),
    path("own/", include_api("webhooks_app.contrib.gateway.api")),
]


@pytest.mark.parametrize("path", ["", "nothing", "webhooks/", "egress/", "webhooks/x/nothing", "%00", "%ff"])
@pytest.mark.parametrize("method", METHODS)
def test_a_path_that_the_standard_api_has_not_is_a_problem(method: str, path: str) -> None:
    response = Client(raise_request_exception=False).generic(method, f"{ROOT}/{path}", b"{}")
    assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")
    problem = response.json()
    assert (problem["code"], problem["status"], problem["detail"]) == ("NOT_FOUND", 404, "There is no such path.")


def test_people_are_told_in_the_same_form() -> None:
    response = Client().get(f"{ROOT}/nothing", headers={"Accept": "text/html"})
    assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("method", METHODS)
def test_a_path_that_a_dialect_has_not_is_an_error_of_its_own(name: str, method: str) -> None:
    for rest in ("", "nothing", "webhooks/", "api/webhooks/", "api/v1/webhooks/", "api/v1/messages/sms/", "%00"):
        response = Client(raise_request_exception=False).generic(method, f"/{name}/{rest}", b"{}")
        assert response["Content-Type"] == "application/json"
        jsonschema.validate(response.json(), DIALECTS[name].error)
        assert response.status_code == 404 or response.resolver_match.kwargs  # type: ignore[attr-defined]


@pytest.mark.parametrize("prefix", [ROOT, *(f"/{name}" for name in DIALECTS)])
def test_the_prefix_without_its_slash_is_not_redirected_either(prefix: str) -> None:
    assert Client().post(prefix).status_code == 404


@pytest.mark.urls("tests.integration.test_api_mount")
class TestAnInclude:
    def test_leaves_a_shared_prefix_to_the_others_too(self) -> None:
        assert Client().get("/shop/api/webhooks").status_code == 401
        assert Client().get("/shop/api/orders").content == b"api/orders"
        assert Client().get("/own/webhooks").status_code == 401
        assert Client().get("/own/orders").json()["error"] == "There is no such path."


class TestABodyThatIsTooLong:
    @pytest.mark.parametrize("prefix", [prefix for prefix in DIALECTS if prefix != "msgine"])
    def test_is_refused_in_the_dialects_form(self, prefix: str) -> None:
        dialect = DIALECTS[prefix]
        [create] = [path for method, path in dialect.answers if method == "POST" and path.endswith("/webhooks")]
        name, form = dialect.key
        body = json.dumps({**dialect.new, "more": "x" * 3_000_000})
        response = Client().post(
            f"/{prefix}{create}", body, content_type="application/json", headers={name: form.format(key())}
        )
        assert response.status_code == 413
        jsonschema.validate(response.json(), dialect.error)
        assert not Endpoint.objects.exists()

    def test_is_a_problem_of_the_standard_api(self) -> None:
        body = {"type": "test.happened", "data": {}, "more": "x" * 3_000_000}
        assert Program().refused("post", "/events", body) == (413, "PAYLOAD_TOO_LARGE", None)

    def test_is_one_beyond_what_django_is_set_to(self, settings: Any) -> None:
        batch = {"events": [{"type": "test.happened", "data": "x" * 262_000}] * 12}
        assert Program().refused("post", "/events/batch", batch)[0] == 413
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 4_000_000
        Program().post("/events/batch", batch)
        assert Event.objects.count() == 12


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data; boundary=b", b"--b\r\nbroken"),
        ("multipart/form-data; boundary=", b"--b--"),
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + b"x" * 3_000_000),
        ("application/x-www-form-urlencoded", b"&".join(b"a=1" for _ in range(2000))),
    ],
    ids=["broken", "an empty boundary", "no boundary", "large", "many fields"],
)  # fmt: skip
def test_a_form_that_cannot_be_read_is_the_senders_fault(kind: str, body: bytes, configure: Any) -> None:
    """The check against CSRF, which people who are logged in must pass, looks into forms."""
    configure(TENANT_OF_REQUEST="tests.integration.test_api_mount.everyones_tenant")
    person = Client(raise_request_exception=False, enforce_csrf_checks=True)
    person.force_login(get_user_model().objects.create_user("anna"))
    person.cookies["csrftoken"] = "x" * 32
    for headers in ({}, {"X-API-Key": key()}):
        response = person.generic("POST", f"{ROOT}/webhooks", body, content_type=kind, headers=headers)
        assert 400 <= response.status_code < 500
        assert response["Content-Type"] == "application/problem+json"


def everyones_tenant(request: Any) -> str:
    return "acme"
