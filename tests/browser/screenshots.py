"""`make screenshots`: pictures of the pages, with invented data, into docs/screenshots/. 1280 wide and light, 375 and dark."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser import company
from tests.browser.chromium import ARGUMENTS, chromium
from tests.browser.live import ROOT, STAFF, LiveProject, Person
from tests.browser.reader import Reader
from tests.receiver import Receiver
from tests.receiver_behaviours import Answer

FOLDER = ROOT / "docs" / "screenshots"
#: A secret that signs nothing anywhere.
INVENTED_SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#: Requests that the receiver must have seen before pictures are taken.
_REQUESTS = 19


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
        LiveProject(Path(folder)) as live,
    ):
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        endpoints = _fill(live)
        with _somebody(browser, live, 1280, 800, "light") as reader:
            _customers_pages(reader, endpoints)
        with _somebody(browser, live, 375, 812, "dark") as reader:
            _on_a_telephone(reader, endpoints)
        with _somebody(browser, live, 1280, 800, "light", Person(STAFF)) as reader:
            reader.goes("/admin/webhooks_app/engine/operations/")
            _take(reader, "admin-operations")
        browser.close()


def _fill(live: LiveProject) -> dict[str, str]:
    """Returns the endpoints' ids by path."""
    with Receiver() as receiver:
        receiver.on(company.STEADY, status=200, body=b'{"received": true}')
        receiver.on(
            company.SHAKY, [200, Answer(503, {"Content-Type": "text/html"}, b"<h1>Deploying, back soon</h1>"), 200]
        )
        receiver.on(company.FAILING, status=500, body=b"KeyError: 'message_id'")
        _run(live, f"lifelike.begin({receiver.url('')!r})")
        statuses = ("sent", "delivered", "sent", "delivered", "sent", "sent", "delivered", "failed", "sent", "sent")
        _run(live, f"[lifelike.tell(number, status) for number, status in enumerate({statuses})]")
        receiver.wait_for(_REQUESTS - 4, timeout=60)
        _run(live, "lifelike.tell(10, 'delivered')")
        receiver.wait_for(_REQUESTS - 2, timeout=60)
        ids: dict[str, str] = json.loads(_run(live, "print(lifelike.settle())"))
        return ids


def _run(live: LiveProject, code: str) -> str:
    return live.manage("shell", "-v", "0", "-c", f"from tests.browser import lifelike; {code}")


@contextmanager
def _somebody(
    browser: Browser,
    live: LiveProject,
    width: int,
    height: int,
    scheme: Literal["light", "dark"],
    person: Person = Person(company.PERSON),  # noqa: B008 - frozen
) -> Iterator[Reader]:
    context = browser.new_context(
        base_url=live.url,
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        device_scale_factor=1,
        timezone_id="Europe/Oslo",
        locale="en-GB",
        reduced_motion="reduce",
    )
    reader = Reader(context.new_page(), live)
    reader.logs_in(person)
    reader.goes("/webhooks/deliveries")  # so that the server knows the reader's time zone
    yield reader
    context.close()


def _customers_pages(reader: Reader, endpoints: dict[str, str]) -> None:
    reader.goes("/webhooks/")
    _take(reader, "endpoints")
    reader.goes(f"/webhooks/endpoints/{endpoints[company.STEADY]}")
    _take(reader, "endpoint")
    reader.goes("/webhooks/deliveries")
    _take(reader, "deliveries")
    _open_what_failed_first(reader, endpoints)
    reader.page.get_by_text("Answer", exact=True).first.click()  # the newest was unfolded
    reader.page.evaluate("document.querySelector('.crumbs').scrollIntoView()")
    _take(reader, "delivery")
    _open_playground(reader)
    _take(reader, "playground")
    _add_webhook(reader)


def _open_what_failed_first(reader: Reader, endpoints: dict[str, str]) -> None:
    reader.goes(f"/webhooks/deliveries?endpoint={endpoints[company.SHAKY]}")
    twice = reader.page.locator("#log tr").filter(has=reader.page.locator("td.number", has_text="2"))
    twice.locator("a[id^=to-]").first.click()
    expect(reader.page.locator(".timeline > li")).to_have_count(2)


def _open_playground(reader: Reader) -> None:
    reader.goes("/webhooks/playground")
    reader.presses("Open the playground")
    reader.follows("To the playground")
    arrivals = reader.page.locator(".arrival")
    for number, status in enumerate(("sent", "delivered"), 1):
        reader.goes(f"/webhooks/playground?type=message.{status}")
        reader.presses(f"Send message.{status}")
        expect(arrivals).to_have_count(number, timeout=60_000)
    reader.goes("/webhooks/playground")


def _add_webhook(reader: Reader) -> None:
    reader.goes("/webhooks/endpoints/new")
    reader.fills("URL", company.HOST + "/returns")
    reader.fills("Description optional", "Returns")
    reader.page.get_by_label("Only those I choose").check()
    reader.page.get_by_label("Find an event").fill("carrier")
    reader.page.get_by_label("message.delivered", exact=True).check()
    reader.page.get_by_label("Find an event").fill("message.failed")
    reader.page.get_by_label("message.failed", exact=True).check()
    reader.page.get_by_label("Find an event").fill("message.")
    reader.page.evaluate("document.querySelector('section.card').scrollIntoView(); document.activeElement.blur()")
    _take(reader, "add-webhook")
    reader.page.get_by_text("Advanced: headers").click()
    reader.fills("Secret of your own optional", INVENTED_SECRET)
    reader.presses("Add webhook")
    reader.sees(INVENTED_SECRET)
    _take(reader, "secret")


def _on_a_telephone(reader: Reader, endpoints: dict[str, str]) -> None:
    reader.goes(f"/webhooks/endpoints/{endpoints[company.FAILING]}")
    _take(reader, "endpoint-phone")
    reader.goes("/webhooks/deliveries")
    _take(reader, "deliveries-phone")


def _take(reader: Reader, name: str) -> None:
    reader.page.screenshot(path=FOLDER / f"{name}.png", animations="disabled", caret="hide")
    print(f"docs/screenshots/{name}.png")


if __name__ == "__main__":
    main()
