"""The broker in one process, as `fox serve` starts it.

Owns: its process. Never: clients.
"""

import sys

from cluster import Cluster

ROUTER = "router"


class Served(Cluster):
    """`fox serve` with a configuration file, in a folder of its own."""

    def __init__(self, **settings):
        super().__init__(gateways=1, shards=1, **settings)

    def environment(self, **more):
        return super().environment(**{"FOX_WEB_ADDRESS": f"127.0.0.1:{self.web}", **more})

    @property
    def names(self):
        return [*super().names, "web"]

    @property
    def started(self):
        return [ROUTER]

    @property
    def gateway_pids(self):
        return [self.processes[ROUTER].pid]

    def command(self, name):
        return [sys.executable, "-m", "fox_shard", "serve"]

    @property
    def router(self):
        return self.processes[ROUTER]

    def restart(self):
        """Kill the process with SIGKILL, start it again, and wait until it is ready."""
        self.kill(ROUTER)
        self.start(ROUTER)
        self.await_ready(unless=self._all_run)
