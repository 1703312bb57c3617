"""Journeys: a secret is shown once. Neither browser nor page, API or disk has it again."""

from __future__ import annotations

import json

from playwright.sync_api import Error, expect

from tests.browser.customer import Webhook, add_webhook, is_genuine, webhook_shown
from tests.browser.reader import Reader
from tests.receiver import Receiver
from tests.receiver_behaviours import Answer


def test_it_can_be_copied_and_verifies_what_arrives(reader: Reader, receiver: Receiver) -> None:
    person = reader.logs_in(reader.live.manager(with_key=True))
    webhook = add_webhook(reader, receiver.url("/hook"))
    copied = reader.copies("Copy", ".shown-once")
    assert copied == webhook.secret
    for language in ("Node.js", "PHP", "Go", "Ruby", "Python"):
        reader.page.get_by_text(language, exact=True).click()
        panel = reader.page.locator(".tabs .panel:visible")
        expect(panel).to_have_count(1)
        assert reader.copies("Copy", ".tabs .panel:visible") == panel.locator("pre").text_content()
    assert webhook.secret not in (panel.text_content() or "")
    reader.live.emit(person, "message.sent", {"message_id": 1})
    [came] = receiver.wait_for(1, timeout=30)
    assert is_genuine(came, copied)
    assert not is_genuine(came, "whsec_" + "A" * 32)


def test_the_browser_does_not_bring_it_back(reader: Reader, receiver: Receiver) -> None:
    reader.logs_in(reader.live.manager())
    webhook = add_webhook(reader, receiver.url("/hook"))
    assert webhook.secret in reader.page.content()

    reader.page.reload()  # the form is sent again
    reader.sees("This was done already")
    _is_without(reader, webhook, "after a reload")

    reader.follows("To your endpoints")
    for steps in (-1, 1, -2, 2, -1):
        _walk(reader, steps)
        _is_without(reader, webhook, f"{steps} in the history")
    assert webhook.secret not in json.dumps(reader.page.context.storage_state(indexed_db=True))

    for path in ("/webhooks/endpoints/new", "/webhooks/"):
        reader.goes(path)
        _is_without(reader, webhook, path)
    assert reader.page.get_by_role("row").count() == 2, "the heading, and one endpoint: it was made once"


def test_straight_back_and_forward_again_it_is_gone(reader: Reader, receiver: Receiver) -> None:
    """Without a reload in between: from the page with the secret to the next, and back, as pages kept in memory would show it."""
    reader.logs_in(reader.live.manager())
    webhook = add_webhook(reader, receiver.url("/hook"))
    reader.follows("To the endpoint")
    reader.sees("Nobody can see it again")
    _walk(reader, -1)
    _is_without(reader, webhook, "back")
    _walk(reader, 1)
    _is_without(reader, webhook, "forward")
    _walk(reader, -2)
    _is_without(reader, webhook, "back at the form")


def test_a_browser_that_keeps_pages_in_memory_does_not_keep_this_one(
    keeping_reader: Reader, receiver: Receiver
) -> None:
    reader = keeping_reader
    _does_keep_pages(reader, receiver)
    reader.logs_in(reader.live.manager())
    webhook = add_webhook(reader, receiver.url("/hook"))
    reader.follows("To the endpoint")
    reader.sees("Nobody can see it again")
    reader.page.evaluate("setTimeout(() => history.back())")
    reader.page.wait_for_function("() => !document.body.innerText.includes('Nobody can see it again')")
    _is_without(reader, webhook, "back")


def test_it_leaves_the_page_before_the_reader_does(reader: Reader, receiver: Receiver) -> None:
    """For browsers that keep even what must not be stored."""
    reader.logs_in(reader.live.manager())
    webhook = add_webhook(reader, receiver.url("/hook"))
    reader.page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    _is_without(reader, webhook, "when the page is left")


def test_no_page_has_it_nor_the_api_nor_the_disk(reader: Reader, receiver: Receiver) -> None:
    person = reader.logs_in(reader.live.manager(with_key=True))
    webhook = add_webhook(reader, receiver.url("/hook"))
    reader.live.emit(person, "message.sent", {"message_id": 1})
    receiver.wait_for(1, timeout=30)
    paths = ["", "/edit", "/rotate", "/test", "/delete", "/recover"]
    places = [webhook.page + path for path in paths]
    places += [
        f"/webhooks/{name}" for name in ("", "deliveries", "audit-log", "keys", "verify-signatures", "playground")
    ]
    for path in places:
        answer = reader.page.request.get(path)
        assert answer.ok, path
        assert "no-store" in answer.headers["cache-control"], path
        assert webhook.secret not in answer.text(), path
    for path in (f"webhooks/{webhook.id}", "webhooks", "deliveries", "events"):
        assert webhook.secret not in json.dumps(reader.live.asks(person.key, path)), path
    for file in (reader.live.log, *reader.live.folder.glob("db.sqlite3*")):
        kept = file.read_bytes()
        assert webhook.secret.encode() not in kept, file
        assert webhook.secret.removeprefix("whsec_").encode() not in kept, file


def test_rotating_shows_the_new_one_once_and_both_are_good_for_a_while(reader: Reader, receiver: Receiver) -> None:
    person = reader.logs_in(reader.live.manager(with_key=True))
    first = add_webhook(reader, receiver.url("/hook"))
    reader.goes(first.page)
    reader.follows("Rotate")
    reader.finds_it_usable()
    reader.page.get_by_label("for 24 hours").check()
    reader.presses("Rotate and show the new secret")
    reader.sees("The old secret is valid until")
    second = webhook_shown(reader)
    reader.finds_it_usable()
    assert second.secret != first.secret
    reader.live.emit(person, "message.sent", {"message_id": 1})
    [came] = receiver.wait_for(1, timeout=30)
    assert is_genuine(came, first.secret)
    assert is_genuine(came, second.secret)

    reader.page.reload()
    reader.sees("This was done already")
    _is_without(reader, second, "after a reload")
    reader.goes(first.page)
    expect(reader.page.get_by_role("table", name="Secrets that sign").get_by_role("row")).to_have_count(3)
    reader.page.get_by_text("End the old secret now").click()
    reader.finds_it_usable()
    reader.presses("End the old secret")
    reader.sees("The old secret is no longer used.")
    reader.live.emit(person, "message.sent", {"message_id": 2})
    _, came = receiver.wait_for(2, timeout=30)
    assert not is_genuine(came, first.secret)
    assert is_genuine(came, second.secret)


def test_another_host_gets_another_secret_shown_once(reader: Reader, receiver: Receiver) -> None:
    reader.logs_in(reader.live.manager())
    first = add_webhook(reader, receiver.url("/hook"))
    reader.goes(f"{first.page}/edit")
    reader.fills("URL", receiver.url("/hook", host="localhost"))
    reader.presses("Save changes")
    reader.sees("Saved, with a new secret")
    second = webhook_shown(reader)
    assert second.secret != first.secret
    reader.page.reload()
    _is_without(reader, second, "after a reload")


def _does_keep_pages(reader: Reader, receiver: Receiver) -> None:
    """A page that may be kept is there again just as it was left; else the test would show nothing."""
    body = b"<!doctype html><title>kept</title><a href='/next'>on</a>"
    receiver.on("/kept", Answer(headers={"Content-Type": "text/html"}, body=body))
    receiver.on("/next", Answer(headers={"Content-Type": "text/html"}, body=body))
    page = reader.page.context.new_page()
    page.goto(receiver.url("/kept"))
    page.evaluate("window.mark = 'as it was left'")
    page.get_by_role("link").click()
    page.wait_for_url("**/next")
    page.evaluate("setTimeout(() => history.back())")
    page.wait_for_function("() => window.mark === 'as it was left'")
    page.close()


def _walk(reader: Reader, steps: int) -> None:
    """In the browser's history. Where it would have to send a form again, it shows a page of its own instead."""
    try:
        with reader.page.expect_navigation():
            # Later: the page may be gone before it has answered.
            reader.page.evaluate("steps => { setTimeout(() => history.go(steps)) }", steps)
    except Error as error:
        if "ERR_CACHE_MISS" not in str(error):
            raise
        reader.page.wait_for_url("chrome-error://**")


def _is_without(reader: Reader, webhook: Webhook, when: str) -> None:
    reader.page.wait_for_load_state()
    assert webhook.secret not in reader.page.content(), when
    assert webhook.secret not in reader.page.locator("body").inner_text(), when
