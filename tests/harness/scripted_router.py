"""A WAMP router that plays a script.

Owns: one WebSocket session. Never: what its messages mean.
"""

import json
import threading
from contextlib import contextmanager

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from fox_shard.client import Session

WELCOME = [2, 7, {"roles": {"broker": {}}}]
GOODBYE = [6, {}, "wamp.close.goodbye_and_out"]


class Router:
    """A router for one session: it sends lists and texts, and awaits messages of numbered types."""

    def __init__(self, script):
        self.script = script
        self.received = []
        self.server = serve(self._play, "127.0.0.1", 0, subprotocols=["wamp.2.json"])
        host, port = self.server.socket.getsockname()
        self.url = f"ws://{host}:{port}/ws"

    def _play(self, websocket):
        try:
            for step in self.script:
                if isinstance(step, int):
                    self.received.append(json.loads(websocket.recv(timeout=20)))
                    assert self.received[-1][0] == step
                else:
                    websocket.send(step if isinstance(step, str) else json.dumps(step))
        except ConnectionClosed:
            pass


@contextmanager
def router(*script):
    """Run a router that plays the script after a HELLO."""
    played = Router([1, *script])
    thread = threading.Thread(target=played.server.serve_forever)
    thread.start()
    try:
        yield played
    finally:
        played.server.shutdown()
        thread.join()


@contextmanager
def joined(*script, patience=20.0):
    """Run a session with a router that plays the script after its WELCOME."""
    with router(WELCOME, *script) as played, Session(played.url, "realm1", patience) as session:
        yield session
