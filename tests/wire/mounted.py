"""A router in a web application under uvicorn.

Owns: its process. Never: clients.
"""

import signal
import sys

import httpx
from cluster import await_true
from served import Served
from user_file import PASSWORD

APPLICATION = "application"


class Mounted(Served):
    """uvicorn with `mounting_application`, at the port `web`; HTTP is at `/fox`."""

    root = "/fox"

    @property
    def ports(self):
        return {**super().ports, "web": self.web}

    def environment(self, **more):
        made = super().environment(**more)
        del made["FOX_GATEWAY_WEB"]
        return made

    @property
    def started(self):
        return [APPLICATION]

    @property
    def names(self):
        return [name for name in super().names if name != "web"]

    @property
    def gateway_pids(self):
        return [self.processes[APPLICATION].pid]

    # Further options of uvicorn.
    options = ()

    def command(self, name):
        options = ["--app-dir", "tests/wire", "--port", str(self.web), "--log-level", "warning"]
        command = [sys.executable, "-m", "uvicorn", "mounting_application:app"]
        return [*command, *options, *self.options]

    def await_ready(self, unless=lambda: None):
        super().await_ready(unless)
        # The web server listens when its application has started.
        await_true("the web server answers", self._answers)

    def stop(self):
        """Return 0 for a web server that has ended properly: uvicorn then dies of its SIGTERM."""
        codes = super().stop()
        return {name: 0 if code == -signal.SIGTERM else code for name, code in codes.items()}

    def _answers(self):
        try:
            return httpx.get(f"http://127.0.0.1:{self.web}/fox/api/docs").is_success
        except httpx.TransportError:
            return False

    def health(self, name):
        """Return the health of a node; of `web`, what the gateway says of it."""
        if name != "web":
            return super().health(name)
        health = super().health("gateway-0")
        return {key.removeprefix("web_"): value for key, value in health.items()}

    def http(self, auth=("peter", PASSWORD), **arguments):
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.web}{self.root}",
            auth=auth,
            timeout=30,
            **arguments,
        )
