"""Journeys of staff in the admin: how things stand, one delivery found and sent again, a secret rotated."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.customer import add_webhook, is_genuine
from tests.browser.live import STAFF, Person
from tests.browser.reader import Reader
from tests.receiver import Receiver

ADMIN = "/admin/webhooks_app"
#: Our part of a page of the admin. What Django puts around it (its header, sidebar, breadcrumbs and theme switch) is Django's
#: to mend: axe finds things there in every version, and none of them can be changed from here.
OURS = "#content"


def test_staff_find_a_delivery_by_its_id_and_send_it_again(reader: Reader, receiver: Receiver) -> None:
    person = reader.live.manager(with_key=True)
    receiver.on("/hook", [500, 500, 200])
    made = reader.live.asks(person.key, "webhooks", data={"url": receiver.url("/hook"), "events": ["*"]})
    event = reader.live.emit(person, "message.sent", {"message_id": 1})
    receiver.wait_for(2, timeout=30)  # the third would come by itself minutes later
    [delivery] = reader.live.asks(person.key, f"deliveries?webhook={made['id']}")["results"]
    reader.logs_in(Person(STAFF))

    reader.goes(f"{ADMIN}/engine/operations/")
    reader.sees("Deliveries that wait")
    reader.finds_it_usable(OURS)

    reader.goes(f"{ADMIN}/delivery/")
    reader.page.locator("#searchbar").fill(delivery["id"])
    reader.page.locator("#searchbar").press("Enter")
    expect(reader.page.locator("#result_list tbody tr")).to_have_count(1)
    reader.page.locator("#result_list tbody a").first.click()
    reader.sees(event)
    reader.reloads_until("HTTP 500")
    reader.finds_it_usable(OURS)
    reader.follows("Send now")
    reader.finds_it_usable(OURS)
    reader.presses("Send now")
    reader.page.wait_for_url("**/change/**")
    *_, last = receiver.wait_for(3, timeout=30)
    assert last.headers["webhook-id"] == event
    reader.reloads_until("Yes. The receiver accepted it")


def test_staff_rotate_a_secret_which_is_shown_once(reader: Reader, receiver: Receiver) -> None:
    person = reader.logs_in(reader.live.manager(with_key=True))
    webhook = add_webhook(reader, receiver.url("/hook"))
    reader.page.context.clear_cookies()
    reader.logs_in(Person(STAFF))
    reader.goes(f"{ADMIN}/endpoint/?q={webhook.id}")
    reader.page.locator("#result_list tbody a").first.click()
    reader.page.wait_for_url("**/change/**")
    page = reader.page.url
    reader.follows("Rotate the secret")
    reader.finds_it_usable(OURS)
    reader.presses("Rotate the secret")
    reader.sees("This is the only time that the secret is shown.")
    reader.finds_it_usable(OURS)
    secret = reader.page.get_by_label("Secret", exact=True).input_value()
    assert secret != webhook.secret
    reader.live.emit(person, "message.sent", {"message_id": 1})
    [came] = receiver.wait_for(1, timeout=30)
    assert is_genuine(came, secret)

    reader.page.reload()
    assert secret not in reader.page.content()
    reader.goes(page)
    assert secret not in reader.page.content()
    reader.goes(f"{page}../history/")
    assert secret not in reader.page.content()
