"""Journeys: looking after an endpoint – changing it, pausing it, trying it out, having sent what it missed, deleting it."""

from __future__ import annotations

import json
import re

from playwright.sync_api import expect

from tests.browser.customer import add_webhook, is_genuine, log_of
from tests.browser.reader import Reader
from tests.receiver import Receiver
from webhooks_app.core.authentication import basic


def test_it_is_changed_and_its_headers_stay_masked(reader: Reader, receiver: Receiver) -> None:
    person = reader.logs_in(reader.live.manager(with_key=True))
    webhook = add_webhook(reader, receiver.url("/old"))
    page = reader.page
    reader.goes(webhook.page)
    reader.page.get_by_role("link", name="Edit", exact=True).first.click()
    reader.finds_it_usable()
    reader.fills("URL", receiver.url("/new"))
    reader.fills("Description optional", "Moved")
    page.get_by_text("Advanced: headers").click()
    page.get_by_label("Name", exact=True).first.fill("X-Gateway")
    page.get_by_label("Value", exact=True).first.fill("let-us-through")
    reader.presses("Save changes")
    reader.sees("Your changes are saved.")
    reader.sees("X-Gateway: ••••••")
    reader.live.emit(person, "message.sent", {"message_id": 1})
    [came] = receiver.wait_for(1, timeout=30)
    assert (came.path, came.headers["x-gateway"]) == ("/new", "let-us-through")
    assert is_genuine(came, webhook.secret), "another path on the same server keeps the secret"

    reader.goes(f"{webhook.page}/edit")
    assert "let-us-through" not in page.content()
    reader.finds_it_usable()
    page.get_by_label("What becomes of it").select_option("remove it")
    reader.presses("Save changes")
    reader.sees("Your changes are saved.")
    reader.live.emit(person, "message.sent", {"message_id": 2})
    _, came = receiver.wait_for(2, timeout=30)
    assert "x-gateway" not in came.headers
    reader.page.reload()
    reader.goes(f"{webhook.page}/edit")
    reader.presses("Save changes")
    reader.sees("Nothing was changed.")


def test_it_authenticates_with_what_was_entered(reader: Reader, receiver: Receiver) -> None:
    person = reader.logs_in(reader.live.manager(with_key=True))
    webhook = add_webhook(reader, receiver.url("/hook"))
    page = reader.page
    reader.goes(f"{webhook.page}/edit")
    page.get_by_text("Authentication: user name").click()
    for kind, field in (
        ("HTTP Basic", "User name"),
        ("Bearer token", "Token"),
        ("OAuth 2.0 client credentials", "Scope optional"),
    ):
        page.get_by_label(kind, exact=True).check()
        expect(page.locator("fieldset.kind:visible")).to_have_count(1)
        expect(page.get_by_label(field, exact=True)).to_be_visible()
    page.get_by_label("HTTP Basic", exact=True).check()
    reader.fills("User name", "hooks")
    reader.fills("Password", "let us through")
    reader.presses("Save changes")
    reader.sees("Your changes are saved.")
    reader.live.emit(person, "message.sent", {"message_id": 1})
    [came] = receiver.wait_for(1, timeout=30)
    assert came.headers["authorization"] == basic("hooks", "let us through")
    reader.goes(f"{webhook.page}/edit")
    expect(page.get_by_label("User name", exact=True)).to_have_value("hooks")
    assert "let us through" not in page.content()
    reader.finds_it_usable()


def test_what_waits_while_it_is_paused_arrives_when_it_is_resumed(reader: Reader, receiver: Receiver) -> None:
    person = reader.logs_in(reader.live.manager(with_key=True))
    webhook = add_webhook(reader, receiver.url("/hook"))
    reader.goes(webhook.page)
    reader.presses("Pause")
    reader.sees("Paused. New events wait until you resume.")
    events = {reader.live.emit(person, "message.sent", {"message_id": number}) for number in range(2)}
    reader.reloads_until("2 deliveries wait.")
    reader.finds_it_usable()
    reader.goes("/webhooks/")
    reader.sees("paused")
    assert receiver.requests == []
    reader.goes(webhook.page)
    reader.presses("Resume")
    reader.sees("Resumed. What has waited is being sent.")
    assert {came.headers["webhook-id"] for came in receiver.wait_for(2, timeout=30)} == events


def test_what_it_missed_while_disabled_is_recovered(reader: Reader, receiver: Receiver) -> None:
    person = reader.logs_in(reader.live.manager(with_key=True))
    webhook = add_webhook(reader, receiver.url("/hook"))
    reader.goes(webhook.page)
    reader.follows("Disable")
    reader.sees("new events are not kept for it")
    reader.finds_it_usable()
    reader.presses("Disable it")
    reader.sees("Disabled. New events are not kept")
    reader.finds_it_usable()
    event = reader.live.emit(person, "message.sent", {"message_id": 1})
    reader.goes(f"/webhooks/events/{event}")
    reader.reloads_until("No endpoint wanted it when it happened")
    reader.finds_it_usable()
    reader.goes(webhook.page)
    reader.presses("Enable")
    reader.sees("Enabled, with a clean record.")
    reader.fills("Since", "2001-01-01T00:00")
    reader.presses("Recover")
    reader.sees("1 event that was missed is sent.")
    reader.finds_it_usable()
    [came] = receiver.wait_for(1, timeout=30)
    assert came.headers["webhook-id"] == event
    reader.fills("Since", "2999-01-01T00:00")
    reader.presses("Recover")
    reader.sees("This time is still to come.")
    reader.finds_it_usable()


def test_deleting_it_asks_first_and_ends_it(reader: Reader, receiver: Receiver) -> None:
    person = reader.logs_in(reader.live.manager(with_key=True))
    webhook = add_webhook(reader, receiver.url("/hook"))
    reader.goes(webhook.page)
    reader.follows("Delete")
    reader.sees("Delete this endpoint?")
    reader.finds_it_usable()
    reader.follows("Keep it")
    reader.follows("Delete")
    reader.presses("Delete for good")
    reader.sees("The endpoint was deleted.")
    reader.sees("No endpoint yet")
    event = reader.live.emit(person, "message.sent", {"message_id": 1})
    reader.goes(f"/webhooks/events/{event}")
    reader.reloads_until("No endpoint wanted it when it happened")
    assert receiver.requests == []
    reader.goes(webhook.page)
    expect(reader.page.locator("main .badge").first).to_have_text("deleted")
    expect(reader.page.locator("main button")).to_have_count(0)
    reader.finds_it_usable()


def test_one_that_fails_says_so_in_words_and_in_charts(reader: Reader, receiver: Receiver) -> None:
    person = reader.logs_in(reader.live.manager(with_key=True))
    webhook = add_webhook(reader, receiver.on("/hook", 500).url("/hook"))
    reader.live.emit(person, "message.sent", {"message_id": 1})
    receiver.wait_for(1, timeout=30)
    reader.goes(webhook.page)
    reader.reloads_until("Failing.")
    reader.sees("No request has succeeded yet.")
    reader.sees("1 delivery waits.")
    reader.finds_it_usable()
    charts = reader.page.locator("figure")
    expect(charts).to_have_count(2)
    for chart in charts.all():
        expect(chart.locator("svg.chart")).to_be_visible()
        chart.locator("summary").click()
        expect(chart.get_by_role("table")).to_be_visible()
    reader.finds_it_usable()
    for span in ("7 days", "30 days"):
        reader.follows(span)
        expect(reader.page.get_by_role("link", name=span)).to_have_attribute("aria-current", "true")
        reader.finds_it_usable()
    reader.goes("/webhooks/")
    expect(reader.page.locator("main .badge").first).to_have_text("failing")
    reader.finds_it_usable()


def test_a_test_event_with_data_of_ones_own_is_answered_in_place(reader: Reader, receiver: Receiver) -> None:
    reader.logs_in(reader.live.manager())
    webhook = add_webhook(reader, receiver.on("/hook", status=418, body=b"I am a <b>teapot</b>").url("/hook"))
    reader.goes(webhook.page)
    reader.page.evaluate("window.stays = true")
    reader.page.get_by_label("Event type").select_option("message.failed")
    expect(reader.page.get_by_label("Data (JSON)")).to_have_value(re.compile("number_not_in_service"))
    reader.page.get_by_label("Data (JSON)").fill('{"message_id": 12345}')
    reader.presses("Send test event")
    reader.sees("HTTP 418")
    reader.sees("I am a <b>teapot</b>")
    assert reader.page.evaluate("window.stays"), "the page was not loaded anew"
    reader.finds_it_usable()
    [came] = receiver.wait_for(1)
    assert (json.loads(came.body)["type"], json.loads(came.body)["data"]) == (
        "message.failed",
        {"message_id": 12345},
    )
    assert is_genuine(came, webhook.secret)
    reader.page.get_by_label("Data (JSON)").fill("{")
    reader.presses("Send test event")
    expect(reader.page.get_by_label("Data (JSON)")).to_have_attribute("aria-invalid", "true")
    reader.finds_it_usable()
    reader.goes(log_of(webhook))
    expect(reader.page.locator("#log tr")).to_have_count(1)
