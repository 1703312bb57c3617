"""Whatever strangers write – events, receivers, customers – is shown as text and runs nothing."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.reader import Reader
from tests.receiver import Receiver

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
HOSTILE = SCRIPT + IMAGE + "'{{ 7*7 }}${7*7}"


def test_it_is_text_on_every_page(reader: Reader, receiver: Receiver) -> None:
    """Each page is looked at; a dialog, a script refused by the policy or an element that came to be fails the test."""
    person = reader.logs_in(reader.live.manager(with_key=True))
    receiver.on("/hook", status=500, headers={"X-Answer": HOSTILE}, body=HOSTILE.encode())
    reader.goes("/webhooks/endpoints/new")
    reader.fills("URL", receiver.url("/hook"))
    reader.fills("Description optional", HOSTILE)
    reader.presses("Add webhook")
    path = reader.page.get_by_role("link", name="To the endpoint").get_attribute("href") or ""
    event = reader.live.emit(
        person,
        "message.sent",
        {"message_id": 1, "text": HOSTILE, HOSTILE: HOSTILE},
        subject=HOSTILE,
        channels=[HOSTILE],
    )
    receiver.wait_for(1, timeout=30)

    reader.goes(path)
    reader.reloads_until("Failing.")
    _is_text(reader)
    reader.presses("Send test event")
    reader.sees("HTTP 500")
    _is_text(reader)
    for page in ("/webhooks/", path + "/edit", path + "/delete", "/webhooks/deliveries", "/webhooks/audit-log"):
        reader.goes(page)
        _is_text(reader, is_shown=not page.endswith(("delete", "audit-log")))
    reader.goes(f"/webhooks/events/{event}")
    _is_text(reader)
    reader.page.locator("a.tag").click()
    expect(reader.page.locator("#log tr")).to_have_count(1)
    _is_text(reader)
    reader.page.locator("#log a[id^=to-]").click()
    reader.unfolds_everything()
    reader.sees(f"X-Answer: {HOSTILE}")
    _is_text(reader)
    box = reader.page.get_by_role("searchbox", name="Search")
    for text in (HOSTILE, SCRIPT):
        box.fill(text)
        box.press("Enter")
        reader.page.wait_for_load_state()
        _is_text(reader, is_shown=text == HOSTILE)
    reader.goes("/webhooks/event-types?q=" + "%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E")
    _is_text(reader, is_shown=False)


def test_what_arrives_at_the_playground_is_text_too(reader: Reader) -> None:
    person = reader.logs_in(reader.live.manager(with_key=True))
    reader.goes("/webhooks/playground")
    reader.presses("Open the playground")
    reader.follows("To the playground")
    reader.live.emit(person, "message.sent", {"message_id": 1, "text": HOSTILE})
    expect(reader.page.locator(".arrival")).to_have_count(1, timeout=30_000)
    _is_text(reader)


def test_names_that_customers_give_are_text(reader: Reader) -> None:
    reader.logs_in(reader.live.manager())
    reader.goes("/webhooks/keys/new")
    reader.fills("Name", HOSTILE)
    reader.presses("Make the key")
    _is_text(reader)
    reader.goes("/webhooks/keys")
    _is_text(reader)
    reader.page.get_by_role("link", name="Revoke").click()
    _is_text(reader)
    reader.presses("Revoke the key")
    reader.goes("/webhooks/audit-log")
    _is_text(reader)


def _is_text(reader: Reader, *, is_shown: bool = True) -> None:
    assert reader.page.locator("img[src=x]").count() == 0
    scripts = reader.page.locator("script:not([src])")
    assert scripts.count() == 0, scripts.all_inner_texts()
    if is_shown:
        assert SCRIPT in (reader.page.locator("main").text_content() or "") + "".join(
            box.input_value() for box in reader.page.locator("main input[type=text]").all()
        )
    assert reader.complaints == []
