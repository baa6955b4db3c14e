"""Free TCP ports on loopback.

Owns: choosing them. Never: holding them.
"""

import secrets
import socket

PORTS = range(10_000, 32_000)
"""Below those that the system gives to clients (ip_local_port_range): none of these takes it away
between the choice and its use."""


def free_port() -> int:
    """One that nobody listens at."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
