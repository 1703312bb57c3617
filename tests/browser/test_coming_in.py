"""Journeys: coming in, as somebody with an account and as somebody with a portal link."""

from __future__ import annotations

from tests.browser.reader import Reader


def test_a_manager_logs_in_and_is_taught_the_next_step(reader: Reader) -> None:
    person = reader.live.manager()
    reader.goes("/webhooks/")
    reader.sees("Log in")
    reader.logs_in(person)
    reader.goes("/webhooks/")
    reader.sees(person.organisation)
    reader.sees("No endpoint yet")
    reader.finds_it_usable()
    assert reader.page.get_by_role("link", name="Add webhook").count() >= 1


def test_a_viewer_is_offered_nothing_that_changes(reader: Reader) -> None:
    reader.logs_in(reader.live.viewer_beside(reader.live.manager()))
    reader.goes("/webhooks/")
    reader.sees("No endpoint yet")
    assert reader.page.get_by_role("link", name="Add webhook").count() == 0


def test_a_portal_link_opens_the_pages_once(reader: Reader) -> None:
    person = reader.live.manager(with_key=True)
    link = str(reader.live.asks(person.key, "portal-links", method="POST")["portal_url"])
    reader.goes(link)
    reader.finds_it_usable()
    reader.presses("Open the webhooks")
    reader.sees(person.organisation)
    reader.goes(link)
    reader.presses("Open the webhooks")
    reader.sees("This link is no longer valid")
    reader.goes("/webhooks/")
    reader.presses("Leave")
    reader.sees("You have left")
    reader.finds_it_usable()
    reader.goes("/webhooks/")
    reader.sees("Log in")


def test_with_the_keyboard_alone_the_content_is_two_keys_away(reader: Reader) -> None:
    reader.logs_in(reader.live.manager())
    reader.goes("/webhooks/")
    reader.page.keyboard.press("Tab")
    reader.page.keyboard.press("Enter")
    assert reader.page.evaluate("document.activeElement.id") == "content"
