"""Free TCP ports on loopback.

Owns: choosing them. Never: holding them.
"""

import secrets
import socket

PORTS = range(10_000, 32_000)
"""Ports below those that the system gives to clients (ip_local_port_range), so that no client takes
a port between its choice and its use."""

_given: set[int] = set()


def free_port() -> int:
    """Return a random port on which no socket listens, and which was not returned before."""
    while True:
        port = secrets.choice(PORTS)
        if port in _given:
            continue
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
