"""Journeys: from an empty list to an endpoint that gets what was chosen, with the mouse and with the keyboard alone."""

from __future__ import annotations

import json
import re

from playwright.sync_api import Locator, Page, expect

from tests.browser.customer import is_genuine, webhook_shown
from tests.browser.reader import Reader
from tests.receiver import Receiver

FORM = "/webhooks/endpoints/new"
DATA = {"message_id": 7}


def test_events_are_chosen_from_the_catalogue_and_everything_can_be_said(reader: Reader, receiver: Receiver) -> None:
    person = reader.logs_in(reader.live.manager(with_key=True))
    page = reader.page
    reader.goes("/webhooks/")
    reader.follows("Add webhook")
    reader.finds_it_usable()
    reader.fills("URL", receiver.url("/hook"))
    reader.fills("Description optional", "Our shop")
    page.get_by_label("Only those I choose").check()
    page.get_by_label("Find an event").fill("a message REACHED")
    expect(page.locator("#event-list li:visible")).to_have_count(1)
    page.get_by_label("message.delivered", exact=True).check()
    page.get_by_label("Find an event").fill("")
    expect(page.get_by_label("message.sent", exact=True)).to_be_visible()
    reader.fills("Other types or families optional", "order.*")
    page.get_by_text("Only some of them").click()
    reader.fills("Channels optional", "berlin\nparis")
    reader.fills("Filters optional", '{"data.message_id": {"gte": 5}}')
    page.get_by_text("Advanced: headers").click()
    page.get_by_label("Name", exact=True).first.fill("X-Gateway")
    page.get_by_label("Value", exact=True).first.fill("let-us-through")
    reader.fills("Rate limit optional", "50")
    page.get_by_label("Strict order").check()
    reader.fills("Metadata optional", '{"team": "shop"}')
    reader.presses("Add webhook")
    reader.sees("order.* fits none of today’s 16 types.")
    reader.finds_it_usable()
    page.get_by_label("Save it anyway").check()
    page.get_by_label("Value", exact=True).first.fill("let-us-through")  # it is not shown again
    reader.presses("Add webhook")
    webhook = webhook_shown(reader)
    reader.finds_it_usable()

    reader.live.emit(person, "message.delivered", {"message_id": 1}, channels=["berlin"])
    reader.live.emit(person, "message.delivered", DATA, channels=["rome"])
    reader.live.emit(person, "message.sent", DATA, channels=["berlin"])
    event = reader.live.emit(person, "message.delivered", DATA, channels=["paris"])
    [came] = receiver.wait_for(1, timeout=30)
    assert came.headers["webhook-id"] == event
    assert came.headers["x-gateway"] == "let-us-through"
    assert json.loads(came.body)["data"] == DATA
    assert is_genuine(came, webhook.secret)

    reader.follows("To the endpoint")
    reader.reloads_until("Healthy.")
    for text in ("order.*", "berlin", "X-Gateway: ••••••", "50 requests a second", "yes, one request at a time"):
        reader.sees(text)
    assert "let-us-through" not in page.content()
    reader.finds_it_usable()


#: What somebody enters, and what is said of it.
_IMPOSSIBLE = {
    "": "This field is required.",
    "example.com/hook": "Enter a full URL",
    "ftp://example.com/hook": "must start with https://",
    "http://10.0.0.7/hook": "not allowed",
    "http://169.254.169.254/latest/meta-data/": "not allowed",
    "http://user:password@127.0.0.1/hook": "must not contain a user name",
}


def test_a_url_that_cannot_be_is_told_beside_its_field(reader: Reader) -> None:
    reader.logs_in(reader.live.manager())
    reader.goes(FORM)
    for url, complaint in _IMPOSSIBLE.items():
        reader.page.locator("form.endpoint-form").evaluate("form => { form.noValidate = true }")
        reader.fills("URL", url)
        reader.presses("Add webhook")
        field = reader.page.get_by_label("URL", exact=True)
        expect(field).to_have_accessible_description(re.compile(re.escape(complaint)))
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_have_value(url)
    reader.finds_it_usable()
    reader.goes("/webhooks/")
    reader.sees("No endpoint yet")


def test_what_else_is_wrong_is_told_beside_its_field(reader: Reader) -> None:
    reader.logs_in(reader.live.manager())
    reader.goes(FORM)
    reader.fills("URL", "https://example.com/hook")
    reader.page.get_by_label("Only those I choose").check()
    reader.page.get_by_text("Only some of them").click()
    reader.fills("Filters optional", "{amount: 5}")
    reader.page.get_by_text("Advanced: headers").click()
    reader.page.get_by_label("Name", exact=True).first.fill("X-Gateway")
    reader.fills("Metadata optional", "[1]")
    reader.fills("Secret of your own optional", "too-short")
    reader.presses("Add webhook")
    reader.sees("Nothing was saved yet.")
    reader.sees("Choose at least one event, or all events.")
    for label in ("Filters optional", "Secret of your own optional"):
        expect(reader.page.get_by_label(label, exact=True)).to_have_attribute("aria-invalid", "true")
    expect(reader.page.get_by_label("Value", exact=True).first).to_have_accessible_description(
        re.compile("Enter the value")
    )
    assert "too-short" not in reader.page.content()
    reader.finds_it_usable()


def test_the_catalogue_leads_to_a_webhook_for_one_event(reader: Reader) -> None:
    reader.logs_in(reader.live.manager())
    reader.goes("/webhooks/event-types")
    reader.page.get_by_label("Find").last.fill("message.fail")
    expect(reader.page.locator("#catalogue li:visible")).to_have_count(1)
    reader.finds_it_usable()
    reader.page.locator("#catalogue li:visible a").click()
    reader.sees("What arrives")
    reader.finds_it_usable()
    assert reader.copies() == reader.page.locator("#body").inner_text()
    reader.follows("Add a webhook for this event")
    expect(reader.page.get_by_label("message.failed", exact=True)).to_be_checked()
    expect(reader.page.get_by_label("message.sent", exact=True)).not_to_be_checked()


def test_with_the_keyboard_alone(reader: Reader, receiver: Receiver) -> None:
    reader.logs_in(reader.live.manager())
    reader.goes("/webhooks/")
    _tabs_to(reader.page, reader.page.get_by_role("link", name="Add webhook").first)
    reader.page.keyboard.press("Enter")
    url = reader.page.get_by_label("URL", exact=True)
    _tabs_to(reader.page, url)
    reader.page.keyboard.type(receiver.url("/keys"))
    _tabs_to(reader.page, reader.page.get_by_label("All events, including future types"))
    reader.page.keyboard.press("ArrowDown")
    event = reader.page.get_by_label("message.sent", exact=True)
    _tabs_to(reader.page, event)
    reader.page.keyboard.press("Space")
    expect(event).to_be_checked()
    _tabs_to(reader.page, reader.page.get_by_role("button", name="Add webhook"))
    reader.page.keyboard.press("Space")
    webhook = webhook_shown(reader)
    copy = reader.page.locator(".copyable button")
    _tabs_to(reader.page, copy)
    reader.page.keyboard.press("Enter")
    expect(copy).to_have_text("Copied")
    assert reader.page.evaluate("navigator.clipboard.readText()") == webhook.secret


def _tabs_to(page: Page, wanted: Locator) -> None:
    """Press Tab until it has the focus, and see that the focus can be seen. Some 80 stops are more than a page may have."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if wanted.evaluate("one => one === document.activeElement"):
            shown = wanted.evaluate("one => getComputedStyle(one).outlineStyle")
            assert shown != "none", f"{wanted} has the focus, and nobody can see it"
            return
    raise AssertionError(f"the keyboard does not get to {wanted}")
