"""Windows of Chromium that come and go within one test, and what one sees in them.

Owns: opening and closing them, how long to look. Never: what the pages do.
"""

from contextlib import contextmanager

from playwright.sync_api import expect

PATIENCE = 60_000.0
"""Milliseconds for what a page has to show, on a busy machine, too."""


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
