"""Journeys: keys for programs, shown once; and who did what."""

from __future__ import annotations

from urllib.error import HTTPError

import pytest
from playwright.sync_api import expect

from tests.browser.reader import Reader


def test_a_key_is_shown_once_works_and_is_revoked(reader: Reader) -> None:
    person = reader.logs_in(reader.live.manager())
    reader.goes("/webhooks/keys")
    reader.sees("No key in use")
    reader.finds_it_usable()
    reader.follows("New key")
    reader.finds_it_usable()
    reader.fills("Name", "Warehouse")
    reader.page.get_by_label("See webhooks, events").uncheck()
    reader.page.locator("main form").evaluate("form => { form.noValidate = true }")
    reader.presses("Make the key")
    reader.sees("Choose at least one.")
    reader.finds_it_usable()
    reader.page.get_by_label("See webhooks, events").check()
    reader.page.get_by_label("Expires").select_option("In 30 days")
    reader.presses("Make the key")
    reader.sees("Your new key")
    key = reader.copies()
    assert key == reader.page.locator("#key").inner_text()
    reader.finds_it_usable()
    assert reader.live.asks(key, "webhooks")["results"] == []
    _refused(reader, key, "events", 403)

    reader.page.reload()
    reader.sees("This was done already")
    assert key not in reader.page.content()
    reader.goes("/webhooks/keys")
    rows = reader.page.get_by_role("table").locator("tbody tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("Warehouse")
    assert key not in reader.page.content()
    reader.finds_it_usable()
    reader.page.get_by_role("link", name="Revoke").click()
    reader.finds_it_usable()
    reader.presses("Revoke the key")
    reader.sees("The key is revoked.")
    reader.page.get_by_text("Revoked and expired keys").first.click()
    reader.finds_it_usable()
    _refused(reader, key, "webhooks", 401)

    reader.goes("/webhooks/audit-log")
    lines = reader.page.get_by_role("table").locator("tbody tr")
    expect(lines).to_have_count(4)
    for line in lines.all():
        expect(line).to_contain_text("Warehouse")
    expect(lines.filter(has_text=person.name)).to_have_count(2)  # made and revoked
    reader.finds_it_usable()
    reader.page.get_by_label("Done by").select_option("API keys")
    reader.presses("Filter")
    expect(lines).to_have_count(2)
    expect(lines.nth(0)).to_contain_text("was refused access to the API")
    expect(lines.nth(0)).to_contain_text("revoked")
    expect(lines.nth(1)).to_contain_text("no scope")
    reader.finds_it_usable()


def test_what_a_program_did_is_told_apart_from_what_people_did(reader: Reader) -> None:
    person = reader.logs_in(reader.live.manager(with_key=True))
    url = "https://example.com/hook"
    made = reader.live.asks(person.key, "webhooks", data={"url": url, "events": ["*"]})
    reader.goes(f"/webhooks/endpoints/{made['id']}")
    reader.presses("Pause")
    reader.goes("/webhooks/audit-log")
    lines = reader.page.get_by_role("table").locator("tbody tr")
    expect(lines.nth(0)).to_contain_text(person.name)
    expect(lines.nth(1)).to_contain_text("of the tests")
    reader.follows(url)
    reader.sees("Paused")


def _refused(reader: Reader, key: str, path: str, status: int) -> None:
    with pytest.raises(HTTPError) as refused:
        reader.live.asks(key, path, data={"type": "message.sent", "data": {}} if path == "events" else None)
    assert refused.value.code == status
    refused.value.close()
