"""Journeys of those who may only look, of those whose session ended, and of those whose browser runs no scripts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.customer import add_webhook, is_genuine, log_of, open_delivery
from tests.browser.live import LiveProject
from tests.browser.reader import Reader
from tests.receiver import Receiver

#: Pages of everybody; an endpoint's, a delivery's and an event's come to these.
PAGES = (
    "",
    "deliveries",
    "event-types",
    "event-types/message.sent",
    "playground",
    "verify-signatures",
    "keys",
    "audit-log",
)


@pytest.fixture
def plain_reader(browser: Browser, live: LiveProject) -> Iterator[Reader]:
    """Somebody whose browser runs no scripts."""
    context = browser.new_context(base_url=live.url, java_script_enabled=False)
    page = context.new_page()
    page.set_default_timeout(20_000)
    yield Reader(page, live)
    context.close()


def test_a_viewer_sees_every_page_and_can_change_nothing(reader: Reader, receiver: Receiver) -> None:
    person = reader.logs_in(reader.live.manager(with_key=True))
    webhook = add_webhook(reader, receiver.url("/hook"))
    event = reader.live.emit(person, "message.sent", {"message_id": 1})
    open_delivery(reader, webhook)
    delivery = reader.page.url
    reader.page.context.clear_cookies()
    reader.logs_in(reader.live.viewer_beside(person))
    places = [f"/webhooks/{page}" for page in PAGES] + [webhook.page, delivery, f"/webhooks/events/{event}"]
    for place in places:
        answer = reader.goes(place)
        assert answer is not None
        assert answer.status == 200, place
        forms = reader.page.locator("main form[method=post]")
        assert forms.count() == 0, place
        for name in ("Add webhook", "New key", "Edit", "Delete", "Rotate", "Retry all failed …", "Send again …"):
            assert reader.page.get_by_role("link", name=name, exact=True).count() == 0, (place, name)
        reader.finds_it_usable()
    for place in ("endpoints/new", "keys/new", f"endpoints/{webhook.id}/edit", f"endpoints/{webhook.id}/rotate"):
        answer = reader.goes(f"/webhooks/{place}")
        assert answer is not None
        assert answer.status == 403, place
    reader.finds_it_usable()


def test_whoever_is_logged_out_meanwhile_is_sent_to_log_in(reader: Reader, receiver: Receiver) -> None:
    """A part of a page must not become the page for logging in, inside the page."""
    reader.logs_in(reader.live.manager())
    webhook = add_webhook(reader, receiver.url("/hook"))
    reader.goes("/webhooks/deliveries")
    reader.page.context.clear_cookies()
    reader.page.wait_for_url("**/login/?next=/webhooks/deliveries", timeout=30_000)
    reader.sees("Password")
    answer = reader.goes(webhook.page)
    assert answer is not None
    assert "/login/" in answer.url


def test_nobody_reaches_what_is_anothers(reader: Reader, receiver: Receiver) -> None:
    reader.logs_in(reader.live.manager())
    webhook = add_webhook(reader, receiver.url("/hook"))
    reader.page.context.clear_cookies()
    reader.logs_in(reader.live.manager())
    for place in (webhook.page, f"{webhook.page}/edit", f"{webhook.page}/rotate"):
        answer = reader.goes(place)
        assert answer is not None
        assert answer.status == 404, place
        assert receiver.url("/hook") not in reader.page.content()
    reader.finds_it_usable()


def test_everything_works_without_scripts(plain_reader: Reader, receiver: Receiver) -> None:
    reader, page = plain_reader, plain_reader.page
    person = reader.logs_in(reader.live.manager(with_key=True))
    receiver.on("/hook", [202, 500, 500, 200])
    webhook = add_webhook(reader, receiver.url("/hook"), "message.sent")
    expect(page.locator("#secret")).to_be_visible()
    expect(page.get_by_role("button", name="Copy")).to_have_count(0)

    reader.follows("Send a test event")
    page.get_by_label("Event type").select_option("message.sent")
    reader.presses("Show its example")
    page.get_by_label("Data (JSON)").fill('{"message_id": 12345}')
    reader.presses("Send test event")
    reader.sees("HTTP 202")
    [test] = receiver.wait_for(1)
    assert is_genuine(test, webhook.secret)

    reader.live.emit(person, "message.sent", {"message_id": 1})
    receiver.wait_for(3, timeout=30)  # the next one would come by itself minutes later
    reader.goes(log_of(webhook))
    newest = page.locator("#log tr").first
    reader.reloads_until(newest.get_by_text("500"))
    newest.locator("a[id^=to-]").click()
    reader.sees("Your server failed while it handled the request")
    expect(page.locator("noscript p")).to_have_text("Reload this page in a moment to see what came of it.")
    page.get_by_text("Request", exact=True).first.click()
    page.get_by_role("link", name="Show the request of attempt").first.click()
    expect(page.locator("pre[id^=curl-]")).to_be_visible()
    page.go_back()
    reader.presses("Send now")
    reader.sees("It is sent again now.")
    reader.reloads_until("Your server has accepted it.")
    last = receiver.wait_for(4)[-1]
    assert is_genuine(last, webhook.secret)

    reader.goes(webhook.page)
    reader.presses("Pause")
    reader.sees("Paused. New events wait until you resume.")
