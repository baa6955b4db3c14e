"""Users of test brokers: the file that `fox user` writes, and what they prove who they are with.

Owns: the file, the secrets. Never: brokers, sessions.
"""

import subprocess
import sys

from autobahn.wamp.auth import AuthTicket
from cluster import CONFIG, ROOT
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PASSWORD = "s3cret"
PRIVATE_KEY = "4d57d97a68f555696620a6d849c0ce582568518d729eb753dc7c732de2804510"
PUBLIC_KEY = (
    Ed25519PrivateKey.from_private_bytes(bytes.fromhex(PRIVATE_KEY))
    .public_key()
    .public_bytes_raw()
    .hex()
)
FAILED = "wamp.error.authentication_failed"


class UserFile:
    """A file with users, which `fox user` changes."""

    def __init__(self, folder, config=CONFIG):
        """config: the server's configuration file, which has the realms."""
        self.path = folder / "users.toml"
        self._config = config

    def fox(self, *arguments, line=""):
        command = [sys.executable, "-m", "fox_shard", "user", *arguments]
        run = subprocess.run(
            command,
            cwd=ROOT,
            env={
                "FOX_CONFIG": str(self._config),
                "FOX_USERS": str(self.path),
                "PATH": "/usr/bin:/bin",
            },
            input=line,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    def add(self, name, role, *more, realm="realm1"):
        self.fox("add", name, "--realm", realm, "--role", role, *more, line=PASSWORD + "\n")


def ticket(password=PASSWORD, name="peter"):
    return AuthTicket(authid=name, ticket=password)
