"""A broker with the HTTP server.

Owns: the server's address. Never: what is asked there.
"""

import httpx
from cluster import Cluster


class WebCluster(Cluster):
    """A broker whose processes include `web`."""

    def environment(self, **more):
        return super().environment(**{**more, "FOX_WEB_ADDRESS": f"127.0.0.1:{self.web}"})

    @property
    def names(self):
        return [*super().names, "web"]

    @property
    def origin(self):
        return f"http://127.0.0.1:{self.web}"

    def http(self, auth=None, **arguments):
        return httpx.Client(base_url=self.origin, auth=auth, timeout=30, **arguments)
