"""Chromium, driven by Playwright, and what axe-core finds in a page.

Owns: the browser, its pages, what they complain of. Never: what the pages do.
"""

import json
import os
import shutil
from contextlib import contextmanager

import node
import pytest
from playwright.sync_api import expect, sync_playwright

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

DESKTOP = {"width": 1360, "height": 860}
PHONE = {"width": 390, "height": 844}

EXPECTED = ("Failed to load resource", "WebSocket connection to")
"""What browsers say of refusals and lost connections, which the pages themselves show."""

PATIENCE = 30_000
"""Milliseconds in which a page must show what is waited for, on a busy machine, too."""


@contextmanager
def launched():
    """Run the browser as Playwright has it. Without it the test is skipped; in CI it fails."""
    path = shutil.which("chromium")
    if path is None:
        reason = "there is no Chromium (Debian package chromium)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def chromium():
    """Run the browser, and fail if its pages complain."""
    with launched() as browser:
        yield Chromium(browser)


class Chromium:
    """The browser, whose pages are closed at the end of each test."""

    def __init__(self, browser):
        self._browser = browser
        self._contexts = []
        self.complaints = []

    def open(self, url, viewport=DESKTOP, scheme="light"):
        """Open a page of its own, with nothing remembered of others."""
        context = self._browser.new_context(viewport=viewport, color_scheme=scheme)
        self._contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._said)
        page.goto(url)
        return page

    def _said(self, message):
        if message.type == "error" and not any(one in message.text for one in EXPECTED):
            self.complaints.append(message.text)

    def close_pages(self):
        """Close all pages, and fail if one of them has complained."""
        for context in self._contexts:
            context.close()
        self._contexts.clear()
        complaints, self.complaints = self.complaints, []
        assert not complaints, complaints


def overflow(page):
    """Return by how many pixels the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


def findings(page):
    """Return what axe-core finds that is serious or critical: (rule, elements) of each."""
    script = node.modules() / "axe-core" / "axe.min.js"
    # The page's policy lets it load nothing: what is evaluated by the driver is not concerned.
    page.evaluate(script.read_text())
    found = json.loads(page.evaluate("axe.run().then((all) => JSON.stringify(all.violations))"))
    return [
        (one["id"], [node["html"][:200] for node in one["nodes"]][:5])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
