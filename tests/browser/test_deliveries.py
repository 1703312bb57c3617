"""Journeys: what was sent where, and what came of it – found, understood, sent again."""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
from pathlib import Path

from playwright.sync_api import Route, expect

from tests.browser.customer import add_webhook, is_genuine, log_of, open_delivery
from tests.browser.reader import Reader
from tests.receiver import Receiver

LOG = "/webhooks/deliveries"


def test_the_log_shows_what_happens_without_a_reload(reader: Reader, receiver: Receiver) -> None:
    person = reader.logs_in(reader.live.manager(with_key=True))
    reader.goes(LOG)
    reader.sees("Nothing was sent yet")
    reader.finds_it_usable()
    add_webhook(reader, receiver.url("/hook"))
    reader.goes(LOG)
    rows = reader.page.locator("#log tr")
    for number in (1, 2):  # the first makes an empty page another one; the second is put above it
        event = reader.live.emit(person, "message.sent", {"message_id": number})
        expect(rows).to_have_count(number, timeout=30_000)
        expect(rows.first).to_be_visible()
        expect(rows.first).to_contain_text(event)
        expect(rows.first.locator(".badge")).to_have_text("succeeded", timeout=30_000)
        if number == 1:
            reader.page.evaluate("window.stays = true")
    assert reader.page.evaluate("window.stays"), "the page was not loaded anew"
    reader.sees("1 new delivery since you opened this page.")
    reader.finds_it_usable()


def test_what_failed_is_explained_and_what_was_mended_succeeds(reader: Reader, receiver: Receiver) -> None:
    person = reader.logs_in(reader.live.manager(with_key=True))
    receiver.on("/hook", [503, 200])
    webhook = add_webhook(reader, receiver.url("/hook"))
    event = reader.live.emit(person, "message.sent", {"message_id": 1})
    receiver.wait_for(1, timeout=30)
    open_delivery(reader, webhook)
    reader.reloads_until("Your server was not available (503 Service Unavailable).")
    reader.sees("It has not been accepted yet, and is tried again by itself.")
    reader.finds_it_usable()
    reader.presses("Send now")
    reader.sees("It is sent again now.")
    reader.page.evaluate("window.stays = true")
    reader.page.get_by_text("Request", exact=True).first.click()
    expect(reader.page.locator("pre[id^=curl-]")).to_have_count(1)
    expect(reader.page.locator(".lead")).to_have_text("Your server has accepted it.", timeout=30_000)
    expect(reader.page.locator(".timeline > li")).to_have_count(2)
    assert reader.page.evaluate("window.stays"), "the page was not loaded anew"
    expect(reader.page.locator("pre[id^=curl-]")).to_be_visible()  # what was unfolded stays so
    assert reader.copies("Copy as curl").startswith("curl ")
    reader.unfolds_everything()
    expect(reader.page.locator("pre[id^=curl-]")).to_have_count(2)
    reader.finds_it_usable()
    first, second = receiver.wait_for(2)
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == event

    reader.follows("Send again …")
    reader.sees("gets it a second time")
    reader.finds_it_usable()
    reader.presses("Send again")
    receiver.wait_for(3, timeout=30)


def test_what_was_unfolded_before_the_scripts_came_is_brought(reader: Reader, receiver: Receiver) -> None:
    person = reader.logs_in(reader.live.manager(with_key=True))
    webhook = add_webhook(reader, receiver.url("/hook"))
    reader.live.emit(person, "message.sent", {"message_id": 1})
    receiver.wait_for(1, timeout=30)
    open_delivery(reader, webhook)
    reader.reloads_until("Your server has accepted it.")
    held: list[Route] = []
    reader.page.route("**/htmx.min*.js", lambda route: held.append(route))
    reader.page.reload(wait_until="commit")
    reader.page.get_by_text("Request", exact=True).click()
    reader.sees("Show the request of attempt 1")
    held[0].continue_()
    expect(reader.page.locator("pre[id^=curl-]")).to_have_count(1)


def test_a_request_copied_as_curl_can_be_made_again(reader: Reader, receiver: Receiver) -> None:
    person = reader.logs_in(reader.live.manager(with_key=True))
    webhook = add_webhook(reader, receiver.url("/hook?of='mine'"))
    reader.live.emit(person, "message.sent", {"message_id": 1, "text": "It's $HOME, `date` and \\ – “quoted”"})
    receiver.wait_for(1, timeout=30)
    open_delivery(reader, webhook)
    reader.reloads_until("Your server has accepted it.")
    reader.page.get_by_text("Request", exact=True).click()
    command = reader.copies("Copy as curl")
    assert shlex.split(command)[0] == "curl"
    subprocess.run(["/bin/sh", "-c", command], check=True, capture_output=True, timeout=30)
    sent, copied = receiver.wait_for(2)
    assert (copied.method, copied.path, copied.body) == (sent.method, sent.path, sent.body)
    assert is_genuine(copied, webhook.secret)


def test_a_delivery_that_waits_is_cancelled_and_sent_all_the_same(reader: Reader, receiver: Receiver) -> None:
    person = reader.logs_in(reader.live.manager(with_key=True))
    webhook = add_webhook(reader, receiver.url("/hook"))
    reader.goes(webhook.page)
    reader.presses("Pause")
    event = reader.live.emit(person, "message.sent", {"message_id": 1})
    open_delivery(reader, webhook)
    reader.sees("It waits: the endpoint is paused.")
    reader.finds_it_usable()
    reader.follows("Cancel …")
    reader.finds_it_usable()
    reader.presses("Cancel the delivery")
    reader.sees("Cancelled: it is not sent any more.")
    reader.goes(webhook.page)
    reader.presses("Resume")
    reader.goes(f"/webhooks/events/{event}")
    reader.finds_it_usable()
    reader.follows("Send again to all …")
    reader.sees(receiver.url("/hook"))
    reader.finds_it_usable()
    reader.presses("Send again")
    [came] = receiver.wait_for(1, timeout=30)
    assert came.headers["webhook-id"] == event


def test_all_that_failed_is_sent_again_at_once(reader: Reader, receiver: Receiver) -> None:
    person = reader.logs_in(reader.live.manager(with_key=True))
    webhook = add_webhook(reader, receiver.url("/hook"))
    for number in range(3):
        reader.live.emit(person, "message.sent", {"message_id": number})
    receiver.wait_for(3, timeout=30)
    _given_up(reader, webhook.id, 3)
    reader.goes(f"{LOG}?status=exhausted")
    reader.reloads_until(reader.page.locator("#log tr").nth(2))
    reader.finds_it_usable()
    reader.follows("Retry all failed …")
    reader.sees("3 deliveries")
    reader.finds_it_usable()
    reader.presses("Send them again")
    reader.sees("3 deliveries are sent again.")
    reader.finds_it_usable()
    came = receiver.wait_for(6, timeout=30)
    assert len({one.headers["webhook-id"] for one in came}) == 3


def test_it_is_filtered_searched_and_exported(reader: Reader, receiver: Receiver, tmp_path: Path) -> None:
    person = reader.logs_in(reader.live.manager(with_key=True))
    webhook = add_webhook(reader, receiver.url("/hook"))
    other = add_webhook(reader, receiver.url("/other"), "message.failed")
    event = reader.live.emit(person, "message.sent", {"message_id": 1}, subject="order-17", channels=["berlin"])
    reader.live.emit(person, "message.failed", {"message_id": 2})
    receiver.wait_for(3, timeout=30)
    reader.goes(LOG)
    reader.page.get_by_text("Filter by endpoint").click()
    reader.finds_it_usable()
    reader.page.get_by_label("Event type").select_option("message.sent")
    reader.fills("Channel optional", "berlin")
    reader.presses("Apply")
    rows = reader.page.locator("#log tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("order-17")
    reader.finds_it_usable()
    for name, read in (("CSV", _of_csv), ("JSON", _of_json)):
        with reader.page.expect_download() as started:
            reader.follows(f"Export {name}")
        started.value.save_as(tmp_path / name)
        assert read(tmp_path / name) == [(event, "message.sent", "succeeded")]
    reader.page.get_by_role("link", name="Remove the filter Channel").click()
    expect(reader.page.get_by_role("list", name="Filters in force").get_by_role("listitem")).to_have_count(2)
    reader.goes(log_of(other))
    expect(rows).to_have_count(1)
    reader.goes(f"{LOG}?status=cancelled")
    reader.sees("Nothing fits these filters")
    reader.finds_it_usable()

    box = reader.page.get_by_role("searchbox", name="Search")
    for text, found in ((event, f"/events/{event}"), ("order-17", f"/events/{event}"), (webhook.id, webhook.page)):
        box.fill(text)
        box.press("Enter")
        reader.page.wait_for_url(f"**{found}")
    box.fill("/OTHER")
    box.press("Enter")
    reader.page.wait_for_url(f"**{other.page}")
    box.fill("berlin")
    box.press("Enter")
    reader.page.wait_for_url("**/deliveries?channel=berlin")
    box.fill("<script>no such thing</script>")
    box.press("Enter")
    reader.sees("Nothing is called that")
    reader.finds_it_usable()


def _given_up(reader: Reader, endpoint: str, number: int) -> None:
    """Make it so that these deliveries have failed for good, which takes days of trying."""
    told = reader.live.manage(
        "shell", "-v", "0", "-c",
        "from webhooks_app.models import Delivery, Endpoint, DeliveryStatus; "
        "from webhooks_app.models.ids import parse_public_id; "
        f"rows = Delivery.objects.filter(endpoint_id=parse_public_id('{endpoint}', 'wh'), status='succeeded'); "
        "print(rows.update(status=DeliveryStatus.EXHAUSTED, last_outcome='server_error', last_status=500))",
    )  # fmt: skip
    assert int(told) == number


def _of_csv(file: Path) -> list[tuple[str, str, str]]:
    with file.open(newline="") as lines:
        return [(row["event"], row["event_type"], row["status"]) for row in csv.DictReader(lines)]


def _of_json(file: Path) -> list[tuple[str, str, str]]:
    return [(row["event"], row["event_type"], row["status"]) for row in json.loads(file.read_text())["deliveries"]]
