"""examples/chat in two browsers, while the server and one of them are killed and come back."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager

import pytest
from cluster import END, ROOT, await_true
from playwright.sync_api import expect
from windows import gone, seen, window

from bench.measure import listening
from bench.ports import free_port

CHAT = ROOT / "examples" / "chat"
BUILD = 300
"""Seconds to install what the page is built with, and to build it."""


@pytest.fixture(scope="module")
def page_is_built():
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed (Debian packages nodejs, npm)")
    done = subprocess.run(
        ["make", "--silent", "examples/chat/dist/index.html"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=BUILD,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


class ChatServer:
    """The chat's web server, with data of its own."""

    def __init__(self, folder):
        self.port = free_port()
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FOX_")},
            "FOX_DATA_DIR": str(folder / "data"),
            "FOX_RUN_DIR": str(folder / "run"),
        }
        self._log = folder / "chat.log"
        self.start()

    def start(self):
        command = ["-m", "uvicorn", "--app-dir", str(CHAT), "--port", str(self.port), "server:app"]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env=self._environ, stdout=log, stderr=log
            )
        await_true("the chat listens", lambda: listening(self.port))

    def kill(self):
        self.process.kill()
        self.process.wait(END)


@pytest.fixture
def chat(page_is_built, tmp_path):
    server = ChatServer(tmp_path)
    yield server
    server.kill()


@contextmanager
def visitor(chromium, chat, name):
    """Open the chat in a window of its own, and enter."""
    with window(chromium, f"http://127.0.0.1:{chat.port}/") as page:
        page.get_by_label("Your name").fill(name)
        page.get_by_role("button", name="Enter").click()
        seen(page.get_by_role("status").filter(has_text="online"))
        yield page


def say(page, text):
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send").click()


def messages(page):
    return page.get_by_role("list", name="Messages")


def person(page, name):
    return page.get_by_role("list", name="People").get_by_text(name, exact=True)


def test_two_talk_and_one_is_killed_and_comes_back(chromium, chat):
    with visitor(chromium, chat, "Ann") as ann:
        with visitor(chromium, chat, "Bob") as bob:
            seen(person(ann, "Bob"))
            say(bob, "Hello Ann")
            seen(messages(ann).get_by_text("Hello Ann"))
        gone(person(ann, "Bob"))
        say(ann, "Where are you?")
        gone(ann.get_by_text("sending"))
        with visitor(chromium, chat, "Bob") as bob:
            seen(person(ann, "Bob"))
            for text in ("Hello Ann", "Where are you?"):
                seen(messages(bob).get_by_text(text))


def test_what_is_being_sent_arrives_once_after_the_server_was_killed(chromium, chat):
    with visitor(chromium, chat, "Ann") as ann, visitor(chromium, chat, "Bob") as bob:
        say(ann, "before")
        seen(messages(bob).get_by_text("before"))
        chat.kill()
        seen(ann.get_by_text("No connection"))
        say(ann, "meanwhile")
        seen(ann.get_by_text("sending"))
        chat.start()
        seen(messages(bob).get_by_text("meanwhile"))
        gone(ann.get_by_text("sending"))
        for page in (ann, bob):
            expect(messages(page).get_by_text("meanwhile")).to_have_count(1)
            expect(messages(page).get_by_text("before")).to_have_count(1)


def test_unread_messages_are_counted_by_the_server(chromium, chat):
    with visitor(chromium, chat, "Ann") as ann, visitor(chromium, chat, "Bob") as bob:
        bob.get_by_label("New thread").fill("Lunch plans")
        bob.get_by_role("button", name="Add").click()
        for text in ("Soup?", "Or salad?"):
            say(bob, text)
        seen(ann.get_by_label("2 unread"))
        ann.get_by_role("button", name="Lunch plans").click()
        seen(messages(ann).get_by_text("Or salad?"))
        gone(ann.get_by_label("unread"))


def test_only_the_moderator_deletes_and_the_next_in_line_follows(chromium, chat):
    with visitor(chromium, chat, "Bob") as bob:
        with visitor(chromium, chat, "Ann") as ann:
            say(bob, "Nonsense!")
            seen(messages(ann).get_by_text("Nonsense!"))
            gone(messages(ann).get_by_role("button", name="Delete"))
            ann.get_by_role("button", name="Moderate").click()
            seen(ann.get_by_role("button", name="Stop moderating"))
            bob.get_by_role("button", name="Moderate").click()
            seen(bob.get_by_role("button", name="Waiting in line"))
            nonsense = messages(ann).get_by_role("listitem").filter(has_text="Nonsense!")
            nonsense.get_by_role("button", name="Delete").click()
            gone(messages(bob).get_by_text("Nonsense!"))
        seen(bob.get_by_role("button", name="Stop moderating"))
