"""Journeys without a server of one's own: the playground, and the check of a signature."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.customer import add_webhook
from tests.browser.reader import Reader
from tests.receiver import Receiver

PLAYGROUND = "/webhooks/playground"


def test_what_is_sent_arrives_and_what_is_refused_is_sent_again(reader: Reader) -> None:
    reader.logs_in(reader.live.manager())
    reader.goes(PLAYGROUND)
    reader.finds_it_usable()
    reader.presses("Open the playground")
    reader.sees("This is the only time that we show it.")
    secret = reader.copies()
    assert secret.startswith("whsec_")
    reader.finds_it_usable()
    reader.page.reload()
    assert secret not in reader.page.content()
    reader.goes(PLAYGROUND)
    reader.sees("Nothing yet")
    reader.finds_it_usable()

    reader.page.get_by_label("Event type").select_option("message.failed")
    reader.presses("Send message.failed")
    arrivals = reader.page.locator(".arrival")
    expect(arrivals).to_have_count(1, timeout=30_000)
    expect(arrivals).to_contain_text("Signature valid")
    expect(arrivals).to_contain_text("number_not_in_service")
    expect(arrivals).to_contain_text("answered 200")
    arrivals.get_by_text("Headers", exact=True).click()
    expect(arrivals.locator(".panel:visible")).to_contain_text("webhook-signature")
    assert secret not in reader.page.content()
    reader.finds_it_usable()

    reader.page.get_by_label("500 Internal Server Error").check()
    reader.presses("Use this answer")
    reader.sees("From now on the receiver answers so.")
    reader.page.get_by_label("Event type").select_option("message.sent")
    reader.presses("Send message.sent")
    expect(arrivals.filter(has_text="answered 500").first).to_be_visible(timeout=30_000)
    expect(arrivals.filter(has_text="attempt 2")).to_have_count(1, timeout=40_000)
    reader.finds_it_usable()

    arrivals.first.get_by_role("link", name="To the delivery").click()
    for place in ("Playground", "Deliveries"):  # of the delivery's endpoint; then the log
        reader.sees("message.sent")
        assert "playground:" not in reader.page.locator("main").inner_text(), "an address that is nobody's but ours"
        reader.page.locator("main").get_by_role("link", name=place).first.click()


def test_a_signature_is_checked_and_what_is_wrong_is_named(reader: Reader, receiver: Receiver) -> None:
    person = reader.logs_in(reader.live.manager(with_key=True))
    webhook = add_webhook(reader, receiver.url("/hook"))
    reader.live.emit(person, "message.sent", {"message_id": 1})
    [came] = receiver.wait_for(1, timeout=30)
    headers = "\n".join(f"{name}: {value}" for name, value in came.header_lines)
    body = came.body.decode()
    reader.goes("/webhooks/verify-signatures")
    reader.finds_it_usable()
    cases = (
        (body, webhook.secret, "This request is genuine."),
        (body.replace(":1}", ":2}"), webhook.secret, "this is not the body that we sent"),
        (body.replace(",", ", ", 1), webhook.secret, "The signature is right for the same JSON, written differently."),
        (body, "whsec_" + "A" * 32, "it was signed with another secret"),
    )
    for pasted, secret, told in cases:
        reader.fills("Headers", headers)
        reader.fills("Body", pasted)
        reader.fills("Secret", secret)
        reader.presses("Check")
        expect(reader.page.locator("#result")).to_contain_text(told)
        assert webhook.secret not in reader.page.content()
        expect(reader.page.get_by_label("Secret", exact=True)).to_have_value("")
    reader.finds_it_usable()
