"""docs/backup-and-upgrade.md, whose commands are entered from the first to the last."""

import os
import re
import shutil
import signal

import pytest
from cluster import END, ROOT
from newcomer import Newcomer
from supervised import Supervised

PAGE = ROOT / "docs" / "backup-and-upgrade.md"


class Operator(Newcomer):
    """Follows the page, and stops and starts the server where the page says so."""

    def start_server(self):
        return Supervised(gateways=1, shards=2)

    def read(self, words):
        for told in re.findall(r"^(Stop|Start) the (?:server|old version)", words, re.MULTILINE):
            if told == "Stop":
                self.stop()
            else:
                self.start()

    @property
    def runs(self):
        return self.broker.supervisord.poll() is None

    def stop(self):
        if self.runs:
            self.broker.supervisord.send_signal(signal.SIGTERM)
            self.broker.supervisord.wait(END)

    def start(self):
        assert not self.runs
        conf = (self.broker.folder / "conf" / "fox.conf").read_text()
        self.broker.shards = int(re.search(r'FOX_SHARDS="(\d+)"', conf)[1])
        self.broker.supervisord = self.broker.start()
        self.broker.await_ready()

    def __exit__(self, *arguments):
        if self.broker is not None and not self.runs:
            self.broker.remove()
            self.broker = None
        super().__exit__(*arguments)


def test_what_is_saved_is_restored_as_it_is_printed():
    if shutil.which("zstd") is None:
        pytest.skip("zstd is not installed (Debian package zstd)")
    with Operator() as operator:
        operator.follow(PAGE.read_text())
        assert operator.runs
        assert operator.broker.shards == 4
    assert len(operator.commands) > 15


def test_a_snapshot_of_a_running_server_is_as_good_as_a_copy():
    """While all processes are stopped, a copy is as of one moment, as a snapshot is."""
    with Operator() as operator:
        operator.enter(".venv/bin/fox put a.before 1", "770525881986369\n")
        pids = operator.broker.children().values()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        operator.enter("cp -a data data.copy", "")
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        operator.enter(".venv/bin/fox put a.behind 2", "770525881986369\n")
        operator.stop()
        operator.enter("mv data data.old && cp -a data.copy data", "")
        operator.start()
        operator.enter(".venv/bin/fox get a.before", "1\n")
        operator.enter(".venv/bin/fox get a.behind", "fox: There is no key a.behind.\n")
