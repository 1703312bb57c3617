"""Somebody at a browser: goes to pages, logs in, and has each page examined for what would shut people out."""

from __future__ import annotations

import time
from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Dialog, Locator, Page, Response
from playwright.sync_api import TimeoutError as NotYet

from tests.browser.live import LiveProject, Person

#: Chromium, and htmx, say this of every answer that is an error, however nice.
_OF_THE_STATUS = ("Failed to load resource: the server responded with a status of", "Response Status Error Code 422")
#: WCAG 2.2, A and AA, and what axe's authors think best.
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
#: What is looked for in each colour scheme: in the second only what depends on colours.
_BY_SCHEME: dict[Literal["dark", "light"], list[str]] = {"dark": _RULES, "light": ["color-contrast"]}
#: Seconds until what is under way must have come about.
PATIENCE = 30.0
#: Width in CSS pixels of a small telephone.
PHONE = 375


class Reader:
    def __init__(self, page: Page, live: LiveProject) -> None:
        self.page = page
        self.live = live
        #: What the console said: errors of scripts, of the Content-Security-Policy …
        self.complaints: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", self._refuse)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(_OF_THE_STATUS):
            self.complaints.append(message.text)

    def _refuse(self, dialog: Dialog) -> None:
        """No page of ours opens one: something ran that was to be text."""
        self.complaints.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def goes(self, path: str) -> Response | None:
        return self.page.goto(path)

    def logs_in(self, person: Person) -> Person:
        self.page.goto("/login/")
        self.page.get_by_label("Username").fill(person.name)
        self.page.get_by_label("Password").fill(person.password)
        self.page.get_by_role("main").get_by_role("button", name="Log in").click()
        self.page.wait_for_url("**/")
        return person

    def sees(self, text: str) -> None:
        self.page.get_by_text(text).first.wait_for()

    def reloads_until(self, wanted: str | Locator) -> None:
        """Look again and again, as people do, until it is there: a text, or a part of the page."""
        until = time.monotonic() + PATIENCE
        shown = self.page.get_by_text(wanted).first if isinstance(wanted, str) else wanted
        while True:
            try:
                return shown.wait_for(timeout=300)
            except NotYet:
                assert time.monotonic() < until, f"{self.page.url} has not come to show {wanted}"
                self.page.reload()

    def fills(self, label: str, text: str) -> None:
        self.page.get_by_label(label, exact=True).fill(text)

    def unfolds_everything(self) -> None:
        self.page.locator("details").evaluate_all("all => { for (const one of all) one.open = true }")

    def copies(self, name: str = "Copy", within: str = "main") -> str:
        """Press a button that copies, which then says so; returns what the clipboard has."""
        self.page.locator(within).get_by_role("button", name=name).first.click()
        self.page.locator(within).get_by_role("button", name="Copied").first.wait_for()
        return str(self.page.evaluate("navigator.clipboard.readText()"))

    def presses(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def follows(self, name: str) -> None:
        self.page.get_by_role("link", name=name, exact=True).first.click()

    def finds_it_usable(self, part: str = "") -> None:
        """No violation that axe can find, light and dark, and nothing to be scrolled sideways on a telephone.

        `part`: a selector, where only that part of the page is ours; its width is then its surroundings' affair.
        """
        # A page that came a moment ago may not have its stylesheet yet.
        self.page.wait_for_load_state("load")
        for scheme, rules in _BY_SCHEME.items():
            self.page.emulate_media(color_scheme=scheme)
            # Django's admin fades from one colour to the other; half-way, the contrast is neither's.
            self.page.evaluate("Promise.allSettled(document.getAnimations().map((one) => one.finished))")
            # `preload` writes imported stylesheets of the admin inline, which its Content-Security-Policy forbids. No rule here
            # needs it.
            found = Axe().run(
                self.page, part or None, options={"runOnly": rules, "resultTypes": ["violations"], "preload": False}
            )
            assert found.violations_count == 0, f"{scheme}, {self.page.url}:\n{found.generate_report()}"
        if part:
            return
        size = self.page.viewport_size
        assert size is not None
        self.page.set_viewport_size({"width": PHONE, "height": 800})
        wide = self.page.evaluate("document.documentElement.scrollWidth")
        self.page.set_viewport_size(size)
        assert wide <= PHONE, f"{self.page.url} is {wide} px wide on a telephone"
