"""What customers do on their pages again and again, and what their servers do with it, in the words of the journeys."""

from __future__ import annotations

from dataclasses import dataclass

from tests.browser.reader import Reader
from tests.receiver_behaviours import Received
from webhooks_app.receiver import VerificationFailed, verify


@dataclass(frozen=True)
class Webhook:
    """An endpoint as whoever added it knows it: the address of its page, and the secret that was shown."""

    page: str
    secret: str

    @property
    def id(self) -> str:
        return self.page.rpartition("/")[2]


def add_webhook(reader: Reader, url: str, *events: str) -> Webhook:
    """Fill in the form; all events, unless some are named."""
    reader.goes("/webhooks/endpoints/new")
    reader.fills("URL", url)
    if events:
        reader.page.get_by_label("Only those I choose").check()
    for event in events:
        reader.page.get_by_label(event, exact=True).check()
    reader.presses("Add webhook")
    return webhook_shown(reader)


def webhook_shown(reader: Reader) -> Webhook:
    """What the page with the new secret says."""
    reader.page.locator("#secret, .errors, .notification.bad").first.wait_for()
    wrong = reader.page.locator(".errors, .notification.bad").all_inner_texts()
    assert not wrong, wrong
    secret = reader.page.locator("#secret").inner_text()
    path = reader.page.get_by_role("link", name="To the endpoint").get_attribute("href")
    assert path
    return Webhook(path, secret)


def is_genuine(request: Received, secret: str) -> bool:
    """What the customer's server asks before it believes anything."""
    try:
        verify(request.body, request.headers, secret)
    except VerificationFailed:
        return False
    return True


def log_of(webhook: Webhook) -> str:
    return f"/webhooks/deliveries?endpoint={webhook.id}"


def open_delivery(reader: Reader, webhook: Webhook) -> None:
    """The page of the endpoint's newest delivery, as soon as there is one."""
    reader.goes(log_of(webhook))
    newest = reader.page.locator("#log a[id^=to-]").first
    reader.reloads_until(newest)
    newest.click()
    reader.page.get_by_role("heading", name="Attempts").wait_for()
