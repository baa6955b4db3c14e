"""The broker under supervisord, from a copy of conf/ in a folder of its own.

Owns: supervisord and its configuration. Never: clients.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from cluster import END, ROOT, Places

from fox_shard.compiled import INTERPRETED

FOX_RUN = ("fox_shard", "run")
SUPERVISORD = ("supervisor.supervisord", "-n", "-c", "conf/fox.conf")


class Supervised(Places):
    """supervisord and its children, whose output is in the file `said`."""

    def __init__(
        self, gateways=2, shards=4, config=None, starts=FOX_RUN, await_ready=True, **settings
    ):
        """config: the configuration file, instead of the copy in conf/.

        starts: the command that starts it. settings: further environment variables.
        """
        super().__init__(gateways, shards)
        self.starts = starts
        self.settings = settings if config is None else {"FOX_CONFIG": str(config), **settings}
        conf = self.folder / "conf"
        shutil.copytree(ROOT / "conf", conf)
        (self.folder / "run").mkdir()
        counts = f'environment=FOX_GATEWAYS="{gateways}",FOX_SHARDS="{shards}"'
        text, changed = re.subn(
            r"^environment=.*", counts, (conf / "fox.conf").read_text(), count=1, flags=re.M
        )
        assert changed == 1
        (conf / "fox.conf").write_text(text)
        self.said = self.folder / "said.log"
        self.supervisord = self.start()
        if not await_ready:
            return
        try:
            self.await_ready(unless=lambda: self._check_runs())
        except BaseException:
            print(self.said.read_text())
            self.stop()
            raise

    @property
    def names(self):
        return [*super().names, "web"]

    def environment(self, **more):
        # FOX_SHARDS here must not win over the line in fox.conf.
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        python = {"PATH": path, "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT))}
        web = {"FOX_WEB_ADDRESS": f"127.0.0.1:{self.web}"}
        # What runs is what pytest has imported, not the build that `fox run` would choose.
        more = {**python, INTERPRETED: "yes", "FOX_SHARDS": "7", **web, **self.settings, **more}
        return super().environment(**more)

    def start(self, said=None):
        """said: where it is written what it and its processes say."""
        with (said or self.said).open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "-m", *self.starts],
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def _check_runs(self):
        assert self.supervisord.poll() is None, "supervisord has ended"

    def fox(self, *arguments):
        """Run the fox command in the same folder; return the finished process."""
        return subprocess.run(
            [sys.executable, "-m", "fox_shard", *arguments],
            cwd=self.folder,
            env={name: value for name, value in self.environment().items() if name != "FOX_SHARDS"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def ctl(self, *arguments):
        """Run supervisorctl, and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisorctl", "-c", "conf/fox.conf", *arguments],
            cwd=self.folder,
            env=self.environment(FOX_GATEWAYS="1"),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout + done.stderr

    def children(self):
        """Return {name: process id} of supervisord's direct children."""
        pid = self.supervisord.pid
        found = {}
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            try:
                command = Path(f"/proc/{child}/cmdline").read_text().split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue  # the child has just ended
            if "fox_shard" in command:  # otherwise the child is just being started
                kind, number = command[command.index("fox_shard") + 1 :][:2]
                found[f"{kind}-{number}" if number.isdecimal() else kind] = int(child)
        return found

    def stop(self):
        """End supervisord with SIGTERM, remove the folder, and return the exit code."""
        self.supervisord.send_signal(signal.SIGCONT)
        self.supervisord.send_signal(signal.SIGTERM)
        try:
            return self.supervisord.wait(END)
        finally:
            if self.supervisord.poll() is None:
                self.supervisord.kill()
                self.supervisord.wait(END)
            self.remove()
