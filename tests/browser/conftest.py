"""A real browser before the running project. Where there is no Chromium, these tests are skipped – but never in CI."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.chromium import ARGUMENTS, chromium
from tests.browser.live import LiveProject
from tests.browser.reader import Reader
from tests.receiver import Receiver


def _path() -> str:
    try:
        return chromium()
    except FileNotFoundError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = _path()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def live(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveProject]:
    """The project; started only where there is a browser to look at it."""
    with LiveProject(Path(tmp_path_factory.mktemp("live"))) as live:
        yield live


@pytest.fixture(scope="session")
def keeping_browser(browser: Browser) -> Iterator[Browser]:
    """As people have it: pages that were left are kept in memory for the way back, which Playwright otherwise switches off."""
    keeping = browser.browser_type.launch(
        executable_path=_path(), args=ARGUMENTS, ignore_default_args=["--disable-back-forward-cache"]
    )
    yield keeping
    keeping.close()


@pytest.fixture
def reader(browser: Browser, live: LiveProject) -> Iterator[Reader]:
    """Somebody with a browser of their own. Whatever a page complains of in the console fails the test."""
    with _somebody_with(browser, live) as reader:
        yield reader


@pytest.fixture
def keeping_reader(keeping_browser: Browser, live: LiveProject) -> Iterator[Reader]:
    with _somebody_with(keeping_browser, live) as reader:
        yield reader


@contextmanager
def _somebody_with(browser: Browser, live: LiveProject) -> Iterator[Reader]:
    context = browser.new_context(base_url=live.url, timezone_id="Europe/Lisbon", locale="en-GB")
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=live.url)
    page: Page = context.new_page()
    page.set_default_timeout(20_000)
    reader = Reader(page, live)
    try:
        yield reader
    finally:
        context.close()
    assert reader.complaints == []


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """The customer's server."""
    with Receiver() as receiver:
        yield receiver
