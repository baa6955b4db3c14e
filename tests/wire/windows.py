"""Windows of Chromium, which Playwright opens, and what one sees in them.

Owns: the browser, its windows, how long to look. Never: what the pages do.
"""

from contextlib import contextmanager

import browser
from playwright.sync_api import expect, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 60_000.0
"""Milliseconds for what a page has to show, on a busy machine, too."""


@contextmanager
def chromium():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser.executable(), args=FLAGS)
        yield chromium
        chromium.close()


@contextmanager
def window(chromium, url):
    """Open a page in a window of its own, which remembers nothing of others."""
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(url)
    try:
        yield page
    finally:
        context.close()
    assert not errors


def seen(locator):
    expect(locator).to_be_visible(timeout=PATIENCE)


def gone(locator):
    expect(locator).to_have_count(0, timeout=PATIENCE)
