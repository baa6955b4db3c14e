"""HTTP on the same topic space: requests become publishes, calls and subscriptions of sessions.

What a client may do is decided where its sessions are, not here.
"""

from fox_shard.web.app import WebApp, make_app

__all__ = ["WebApp", "make_app"]
