"""The playground's page: open, send, choose answers, and see what arrives."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests import playgrounds
from tests.factories import TenantFactory
from tests.forms import form_id
from tests.playgrounds import Deliver, opened
from tests.visitors import visiting
from webhooks_app import emit
from webhooks_app.dashboard.pages.playground import MOST_SHOWN
from webhooks_app.endpoints.secrets import rotate_secret
from webhooks_app.endpoints.status import pause_endpoint
from webhooks_app.models import Endpoint, EndpointStatus, Event, Secret, Tenant
from webhooks_app.playground.service import answer_with, playground_of, send_to_playground
from webhooks_app.tenants.access import Role

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("pipeline", "visitors", "nowhere"),
]

nowhere = playgrounds.nowhere


def address(name: str = "playground", **query: str) -> str:
    return reverse(f"webhooks_app:{name}", query=query)


def page(browser: Client, **query: str) -> str:
    answer = browser.get(address(**query))
    assert answer.status_code == 200
    return answer.content.decode()


def post(browser: Client, name: str, **values: Any) -> Any:
    """A form of the page, as it was shown just now."""
    return browser.post(address(name), {"form_id": form_id(page(browser)), **values})


class TestOpening:
    def test_teaches_what_comes_and_shows_the_secret_once(self) -> None:
        tenant = TenantFactory()
        browser = visiting(tenant)
        assert "How it goes" in page(browser)
        answer = post(browser, "playground")
        secret = Secret.objects.get().reveal()
        assert secret in answer.content.decode()
        assert "Nothing yet" in page(browser)
        assert secret not in page(browser)
        number = form_id(page(browser))
        for _ in range(2):  # once more, though it is open, and that very form again
            assert secret not in browser.post(address(), {"form_id": number}).content.decode()
        assert Endpoint.objects.count() == 1

    def test_is_refused_politely_where_the_plan_has_none(self) -> None:
        browser = visiting(TenantFactory(webhooks_enabled=False))
        assert post(browser, "playground").status_code == 409
        assert not Endpoint.objects.exists()


class TestSending:
    def test_what_is_typed_arrives(self, deliver: Deliver) -> None:
        tenant, _, _ = opened()
        browser = visiting(tenant)
        answer = post(browser, "playground_send", type="test.happened", data='{"text": "Grüße <b>&"}')
        assert (answer.status_code, answer["Location"]) == (302, address(done="sent", type="test.happened"))
        assert "on its way" in page(browser, done="sent")
        assert "One delivery waits" in page(browser)
        deliver()
        shown = page(browser)
        assert "Signature valid" in shown
        assert "Grüße &lt;b&gt;&amp;" in shown
        assert "webhook-signature" in shown
        assert ("answered 200" in shown, "wait" in re.sub("class=.*?>", "", shown)) == (True, False)

    def test_each_form_sends_once(self) -> None:
        tenant, _, _ = opened()
        browser = visiting(tenant)
        number = form_id(page(browser))
        values = {"form_id": number, "type": "test.happened", "data": "{}"}
        assert [browser.post(address("playground_send"), values).status_code for _ in range(2)] == [302, 409]
        assert Event.objects.count() == 1

    @pytest.mark.parametrize(
        ("type_", "data", "message"),
        [
            ("test.happened", "{oops", "not JSON: look at line 1, column 2"),
            ("test.happened", "", "required"),
            ("test.happened", "[" * 100_000, "nesting that cannot be sent"),
            ("test.happened", "NaN", "JSON"),
            ("test.checked", '{"n": "one"}', "one"),
            ("no.such", "{}", "no.such"),
            ("", "{}", "required"),
        ],
    )
    def test_what_cannot_be_sent_is_said_beside_the_form(self, type_: str, data: str, message: str) -> None:
        tenant, _, _ = opened()
        answer = post(visiting(tenant), "playground_send", type=type_, data=data)
        assert answer.status_code == 422
        assert message in answer.content.decode()
        assert not Event.objects.exists()

    def test_the_example_is_that_of_the_chosen_type(self) -> None:
        tenant, _, _ = opened()
        browser = visiting(tenant)
        shown = page(browser, type="message.failed")
        assert "number_not_in_service" in shown
        assert "Send message.failed" in shown
        assert page(browser, type="no.such")


class TestAnswering:
    def test_retries_are_shown_with_their_number_and_end_with_another_answer(self, deliver: Deliver) -> None:
        tenant, _, _ = opened(wire_format="careful")
        browser = visiting(tenant)
        assert post(browser, "playground_answer", answer="500")["Location"] == address(done="answers")
        send_to_playground(tenant, type="test.happened")
        deliver()
        assert "answered 500" in page(browser)
        assert "The next attempt" in page(browser)
        post(browser, "playground_answer", answer="204")
        deliver()
        shown = page(browser)
        assert ("attempt 2" in shown, "answered 204" in shown) == (True, True)

    def test_one_that_is_gone_says_how_it_is_switched_on_again(self, deliver: Deliver) -> None:
        tenant, endpoint, _ = opened()
        browser = visiting(tenant)
        post(browser, "playground_answer", answer="410")
        send_to_playground(tenant, type="test.happened")
        deliver()
        shown = page(browser)
        assert "asks us to stop" in shown
        assert "switch on" in shown
        assert re.search(r'value="200"[^>]* checked', shown)
        post(browser, "playground_answer", answer="200")
        endpoint.refresh_from_db()
        assert endpoint.status == EndpointStatus.ACTIVE

    def test_an_answer_that_there_is_none_of_is_refused(self) -> None:
        tenant, endpoint, _ = opened()
        for answer in ("201", ""):
            assert post(visiting(tenant), "playground_answer", answer=answer).status_code == 422
        endpoint.refresh_from_db()
        assert endpoint.url == "playground:200"

    def test_a_paused_one_says_so(self) -> None:
        tenant, endpoint, _ = opened()
        pause_endpoint(endpoint)
        assert "is paused" in page(visiting(tenant))


def test_the_events_that_arrive_are_chosen() -> None:
    tenant, endpoint, _ = opened()
    browser = visiting(tenant)
    post(browser, "playground_events", events=["test.happened", "message.sent"])
    assert set(endpoint.patterns) == {"test.happened", "message.sent"}
    post(browser, "playground_events", events=["test.happened", "*"])
    assert Endpoint.objects.get().patterns == ["*"]
    for wrong in ([], ["no.such"]):
        assert post(browser, "playground_events", events=wrong).status_code == 422
    assert Endpoint.objects.get().patterns == ["*"]


def test_closing_it_leads_back_to_the_beginning() -> None:
    tenant, _, _ = opened()
    browser = visiting(tenant)
    answer = browser.post(address("playground_close"), follow=True)
    assert "is closed" in answer.content.decode()
    assert "How it goes" in answer.content.decode()
    assert playground_of(tenant) is None
    for name in ("playground_answer", "playground_events", "playground_close"):
        assert browser.post(address(name)).status_code in (404, 409)
    assert browser.get(address("playground_arrivals")).status_code == 404


class TestLookingOn:
    def test_only_what_is_new_is_sent(self, deliver: Deliver) -> None:
        tenant, _, _ = opened()
        browser = visiting(tenant)
        first = live(page(browser))
        assert browser.get(first).status_code == 204
        emit("test.happened", {"n": 1}, tenant=tenant)
        deliver()
        fragment = browser.get(first).content.decode()
        assert (fragment.count("<article"), "<html" in fragment) == (1, False)
        second = live(fragment)
        assert browser.get(second).status_code == 204
        answer_with(tenant, "500")
        fragment = browser.get(second).content.decode()
        assert (fragment.count("<article"), "500 Internal" in fragment) == (0, True)

    def test_the_list_can_be_cleared_for_the_eye(self, deliver: Deliver) -> None:
        tenant, _, _ = opened()
        browser = visiting(tenant)
        emit("test.happened", {"n": 1}, tenant=tenant)
        deliver()
        link = re.search(r'href="([^"]+\?after=\w+)"', page(browser))
        assert link is not None
        cleared = browser.get(link[1]).content.decode()
        assert ("<article" in cleared, "Show earlier ones" in cleared) == (False, True)

    @pytest.mark.parametrize("after", ["x", "0" * 32, "'", "\x00"])
    def test_a_made_up_place_in_the_list_is_none(self, after: str) -> None:
        tenant, _, _ = opened()
        browser = visiting(tenant)
        assert page(browser, after=after)
        assert browser.get(address("playground_arrivals", after=after)).status_code == 200

    def test_secrets_of_a_rotation_are_told_apart(self, deliver: Deliver) -> None:
        tenant, endpoint, secret = opened()
        emit("test.happened", {}, tenant=tenant)
        deliver()
        new = rotate_secret(endpoint).text
        shown = page(visiting(tenant))
        assert "replaced secret" in shown
        assert (secret in shown, new in shown) == (False, False)

    def test_large_and_strange_bodies_are_shown_as_far_as_it_goes(self, deliver: Deliver) -> None:
        tenant, _, _ = opened()
        for data in ({"text": "x" * 2 * MOST_SHOWN}, {"half": "\ud83d"}, "</pre><script>alert(1)</script>"):
            send_to_playground(tenant, type="test.happened", data=data)
        deliver()
        shown = page(visiting(tenant))
        assert shown.count("<article") == 3
        assert "Only the beginning is shown" in shown
        assert "<script>alert" not in shown
        assert len(shown) < 6 * MOST_SHOWN

    def test_pages_cost_the_same_however_much_has_arrived(self, deliver: Deliver) -> None:
        tenant, _, _ = opened()
        browser = visiting(tenant)
        counts = []
        for number in (2, 18):
            for n in range(number):
                emit("test.happened", {"n": n}, tenant=tenant)
            deliver()
            with CaptureQueriesContext(connection) as captured:
                page(browser)
            counts.append(len(captured))
        assert counts[0] == counts[1]


class TestWhoMay:
    def test_viewers_see_and_have_no_buttons(self, deliver: Deliver) -> None:
        tenant, _, _ = opened()
        emit("test.happened", {}, tenant=tenant)
        deliver()
        browser = visiting(tenant, Role.VIEWER)
        shown = page(browser)
        assert "Signature valid" in shown
        assert ("<button" in shown.split("<main")[1], 'method="post"' in shown.split("<main")[1]) == (False, False)
        assert browser.post(address("playground_close")).status_code == 403
        assert "can open it" in page(visiting(TenantFactory(), Role.VIEWER))

    def test_nobody_sees_anothers(self, deliver: Deliver) -> None:
        tenant, endpoint, _ = opened()
        emit("test.happened", {"mine": "only"}, tenant=tenant)
        deliver()
        for stranger in (TenantFactory(), other_with_one()):
            browser = visiting(stranger)
            assert "mine" not in page(browser)
            browser.post(address("playground_answer"), {"answer": "500"})
            browser.post(address("playground_close"))
        endpoint.refresh_from_db()
        assert (endpoint.url, endpoint.status) == ("playground:200", EndpointStatus.ACTIVE)


def other_with_one() -> Tenant:
    return opened()[0]


def live(page: str) -> str:
    """The address that htmx asks every few seconds."""
    found = re.search(r'id="live" hx-get="([^"]+)"', page)
    assert found is not None
    return found[1].replace("&amp;", "&")


def test_it_stands_in_the_list_under_its_name() -> None:
    tenant, _, _ = opened()
    shown = visiting(tenant).get(reverse("webhooks_app:home")).content.decode()
    assert f'<a href="{address()}">Playground</a>' in shown
    assert "playground:" not in shown
