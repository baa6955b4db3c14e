"""docs/tutorial-chat.md, followed to its last line, and looked at in two browsers."""

import os
import re
import shutil
import signal
import socket
import subprocess

import pytest
from cluster import END, ROOT, await_true
from newcomer import Newcomer
from packages import INSTALLING, build, copy_sources, outside
from playwright.sync_api import expect
from windows import PATIENCE, gone, seen, window

from bench.ports import free_port

PAGE = ROOT / "docs" / "tutorial-chat.md"
BACK_END, VITE = ".venv/bin/uvicorn server:app", "npm --prefix page run dev"
"""The commands that end only with Ctrl-C."""

QUIET = r"python3 -m venv |\.venv/bin/pip |npm "
"""Commands of which the page does not say what they print."""


class Shell:
    """A shell in which one server runs, until Ctrl-C."""

    def __init__(self, command, folder, log):
        with log.open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", f"exec {command}"],
                cwd=folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ctrl_c(self):
        """End the server: a terminal sends SIGINT to all processes of the command."""
        os.killpg(self._process.pid, signal.SIGINT)
        self._process.wait(END)

    def close(self):
        """End whatever is left of the command."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self._process.wait(END)


def environment():
    """Return a newcomer's environment, in which there is no setting."""
    return {name: text for name, text in outside().items() if not name.startswith("FOX_")}


def without_figures(health):
    """Return what `fox health` prints, without what is different each time."""
    return re.sub(r" cpu=\d+%", "", re.sub(r"memory=\d+MiB", "memory=…", health))


def reachable(port):
    """Whether something listens at a port of localhost, by IPv4 or IPv6."""
    try:
        socket.create_connection(("localhost", port), END).close()
    except ConnectionRefusedError:
        return False
    return True


class Builder(Newcomer):
    """Follows the page in an empty folder, with the wheel in place of a package index."""

    folder = None

    def __init__(self, folder, wheel):
        super().__init__()
        self.folder = folder / "chat"
        self.folder.mkdir()
        self.log = folder / "servers.log"
        self._wheel = wheel
        self._shells = {}
        self.ports = {BACK_END: free_port(), VITE: free_port()}

    def __exit__(self, *_):
        for shell in self._shells.values():
            shell.close()

    @property
    def environment(self):
        return environment()

    def _need_server(self):
        """It is a part of what the page builds."""

    def read(self, words):
        """Copy the files that these words tell to save, as somebody who follows their links."""
        told = re.search(r"Save (\[.*?) in\s+the folder `([\w/]+)`", words, re.DOTALL)
        if told is not None:
            folder = self.folder / told[2]
            folder.mkdir()
            for link in re.findall(r"\]\(([^)]+)\)", told[1]):
                shutil.copy(PAGE.parent / link, folder)

    def save(self, text, name):
        (self.folder / name).write_text(self._here(text))

    def enter(self, command, prints):
        self.commands.append(command)
        if command in self.ports:
            self.start(command)
        elif re.match(QUIET, command):
            done = subprocess.run(
                ["sh", "-c", self._here(command)],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=INSTALLING,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
        else:
            assert without_figures(self.printed_by(command)) == without_figures(prints), command

    def start(self, server):
        """Start a server in its shell, after Ctrl-C if it runs."""
        if server in self._shells:
            self.stop(server)
        port = self.ports[server]
        option = "--port" if server == BACK_END else "-- --strictPort --port"
        self._shells[server] = Shell(f"{server} {option} {port}", self.folder, self.log)
        await_true(f"`{server}` listens at port {port}", lambda: reachable(port))

    def stop(self, server):
        self._shells.pop(server).ctrl_c()

    def _here(self, text):
        # At a terminal, curl shows no progress of an answer without a body.
        text = text.replace("curl ", "curl --no-progress-meter ")
        text = text.replace("127.0.0.1:8000", f"127.0.0.1:{self.ports[BACK_END]}")
        return text.replace("pip install fox-shard", f"pip install {self._wheel}")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed (Debian packages nodejs, npm)")
    folder = tmp_path_factory.mktemp("package")
    copy_sources(folder / "sources")
    build(folder / "sources", folder / "dist", "--wheel")
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def steps():
    """Return the sections of the page: its beginning, six steps, and where to go from there."""
    return re.split(r"^(?=## )", PAGE.read_text(), flags=re.MULTILINE)


def says(page, text):
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send").click()


def once(page, text):
    """Look whether the page shows a message, and only once."""
    expect(page.get_by_role("list", name="Messages").get_by_text(text)).to_have_count(
        1, timeout=PATIENCE
    )


def people(page, *names):
    """Look whether these people are here, and nobody else."""
    seen(page.get_by_role("list", name="People"))
    for name in names:
        seen(page.get_by_role("list", name="People").get_by_text(name, exact=True))
    expect(page.get_by_role("list", name="People").get_by_role("listitem")).to_have_count(
        len(names)
    )


def online(*pages):
    for page in pages:
        seen(page.get_by_role("status").filter(has_text="online"))


def offline(*pages):
    for page in pages:
        seen(page.get_by_role("status").filter(has_text="No connection"))


def test_the_chat_is_built_as_it_is_printed(tmp_path, wheel, chromium):
    _, server, connection, messages, presence, sending, one_port, _ = steps()
    with Builder(tmp_path, wheel) as builder:
        builder.follow(server)
        builder.follow(connection)
        at_vite = f"http://localhost:{builder.ports[VITE]}/?name="
        with window(chromium, at_vite + "Ann") as ann:
            with window(chromium, at_vite + "Bob") as bob:
                online(ann, bob)
                builder.stop(BACK_END)
                offline(ann, bob)
                builder.start(BACK_END)
                online(ann, bob)

                builder.follow(messages)
                says(ann, "Hello Bob")
                once(bob, "Hello Bob")
                bob.reload()
                once(bob, "Hello Bob")
                builder.start(BACK_END)
                online(ann, bob)
                bob.reload()
                once(bob, "Hello Bob")

                builder.follow(presence)
                people(ann, "Ann", "Bob")
                people(bob, "Ann", "Bob")
            people(ann, "Ann")
            with window(chromium, at_vite + "Bob") as bob:
                people(ann, "Ann", "Bob")
                builder.stop(BACK_END)
                offline(ann, bob)
                says(ann, "lost")

                ann.get_by_label("Message", exact=True).evaluate("(field) => field.id = 'old'")
                builder.follow(sending)
                gone(ann.locator("#old"))  # the new component has taken its place
                says(ann, "Are you there?")
                seen(ann.get_by_text("sending …"))
                builder.start(BACK_END)
                online(ann, bob)
                for page in (ann, bob):
                    once(page, "Are you there?")
                    gone(page.get_by_text("lost"))
                gone(ann.get_by_text("sending …"))
        builder.stop(VITE)
        builder.follow(one_port)
        at_back_end = f"http://127.0.0.1:{builder.ports[BACK_END]}/?name="
        with (
            window(chromium, at_back_end + "Ann") as ann,
            window(chromium, at_back_end + "Bob") as bob,
        ):
            for page in (ann, bob):
                people(page, "Ann", "Bob")
                once(page, "Are you there?")
                once(page, "The soup is ready")
            says(bob, "I come")
            once(ann, "I come")
        assert len(builder.commands) == 11
