"""The API's pages work under their Content-Security-Policy: a violation would be said in the console."""

from __future__ import annotations

from tests.browser.reader import Reader


def test_the_documentation_lists_and_tries_operations(reader: Reader) -> None:
    reader.goes("/api/docs")
    reader.page.locator("#operations-webhooks-webhooks_list, .opblock").first.wait_for()
    assert reader.page.locator(".opblock").count() > 10
    reader.page.locator(".opblock-summary-control").first.click()
    reader.page.get_by_role("button", name="Try it out").first.click()
    reader.page.get_by_role("button", name="Execute").first.wait_for()


def test_the_browsable_api_shows_a_list_and_its_form(reader: Reader) -> None:
    reader.logs_in(reader.live.manager())
    answer = reader.goes("/api/v1/webhooks")
    assert answer is not None
    assert answer.status == 200
    reader.page.locator("pre.prettyprint").first.wait_for()
    reader.page.get_by_role("button", name="POST").first.wait_for()
